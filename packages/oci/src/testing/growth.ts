/**
 * How the time of a function grows with the size of its input, for tests that hostile input costs linear time. Two
 * sizes are compared on the same machine at the same moment, so a slow or busy machine changes nothing.
 */

/**
 * Above it growth is not linear: eight times the input takes 8 times as long, or 64 times when it is quadratic. Input that
 * no longer fits the caches of the processor costs two or three times as much.
 */
export const linearGrowth = 32;

/**
 * @param make the input of a size; called once with `size / 8` and once with `size`
 * @param run what is measured; what it throws counts as its answer
 * @returns the time of `size` divided by that of `size / 8`, each the least of several rounds
 */
export async function growthOf<Input>(
  size: number,
  make: (size: number) => Input,
  run: (input: Input) => unknown,
): Promise<number> {
  const small = make(size / 8);
  const large = make(size);
  let calls = 1;
  // Short calls are repeated, so that the clock's resolution does not decide.
  while ((await timeOf(run, small, calls)) < 2000) calls *= 2;
  let ofSmall = Number.POSITIVE_INFINITY;
  let ofLarge = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    ofSmall = Math.min(ofSmall, await timeOf(run, small, calls));
    ofLarge = Math.min(ofLarge, await timeOf(run, large, calls));
  }
  return ofLarge / ofSmall;
}

/** @returns microseconds of processor time of `calls` calls: what other processes take meanwhile does not count */
async function timeOf<Input>(run: (input: Input) => unknown, input: Input, calls: number): Promise<number> {
  const start = process.cpuUsage();
  for (let call = 0; call < calls; call++) {
    try {
      await run(input);
    } catch {
      // A refusal is an answer too.
    }
  }
  const { user, system } = process.cpuUsage(start);
  return user + system;
}
