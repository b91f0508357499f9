/** The same question to another server is asked once at a time, and an answer is kept as long as it may be. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Coalesced } from '../src/replica/coalesced.ts';

const never = new AbortController().signal;

/** Questions that are answered by hand. */
function questions() {
  const asked: (PromiseWithResolvers<string> & { readonly signal: AbortSignal })[] = [];
  const ask = (signal: AbortSignal): Promise<string> => {
    const question = { ...Promise.withResolvers<string>(), signal };
    asked.push(question);
    return question.promise;
  };
  return { asked, ask };
}

const keeping = (keepMs: number, maxBytes = 1_000_000) => ({
  keepMs: () => keepMs,
  maxBytes,
  weigh: (answer: string) => answer.length,
});

test('who waits for the same gets the same answer; who goes away leaves the others waiting', async () => {
  const { asked, ask } = questions();
  const answers = new Coalesced(never, keeping(0));
  const leaving = new AbortController();
  const first = answers.get('a', ask, leaving.signal);
  const second = answers.get('a', ask);
  const other = answers.get('b', ask);
  leaving.abort();
  await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
  expect(asked.map(({ signal }) => signal.aborted)).toEqual([false, false]);
  asked[0]?.resolve('one');
  asked[1]?.resolve('two');
  expect([await second, await other]).toEqual(['one', 'two']);
});

test('with the last who waits, the question ends', async () => {
  const { asked, ask } = questions();
  const answers = new Coalesced(never, keeping(1000));
  const leaving = new AbortController();
  const waiting = [answers.get('a', ask, leaving.signal), answers.get('a', ask, leaving.signal)];
  leaving.abort();
  for (const one of waiting) await expect(one).rejects.toMatchObject({ code: 'ABORTED' });
  expect(asked[0]?.signal.aborted).toBe(true);
  const again = answers.get('a', ask);
  asked[0]?.resolve('late');
  asked[1]?.resolve('new');
  expect(await again).toBe('new');
});

test('a failure is told to all who wait, and not kept', async () => {
  const { asked, ask } = questions();
  const answers = new Coalesced(never, keeping(1000));
  const waiting = [answers.get('a', ask), answers.get('a', ask)];
  asked[0]?.reject(new Error('down'));
  for (const one of waiting) await expect(one).rejects.toThrow('down');
  const again = answers.get('a', ask);
  asked[1]?.resolve('up');
  expect(await again).toBe('up');
});

test('an answer is kept for its time, and given up before that where others need the room', async () => {
  const answers = new Coalesced(never, keeping(20, 1000));
  let count = 0;
  const ask = async (): Promise<string> => `${++count}${' '.repeat(100)}`;
  const get = async (key: string): Promise<number> => Number((await answers.get(key, ask)).trim());
  expect([await get('a'), await get('a')]).toEqual([1, 1]);
  await sleep(40);
  expect(await get('a')).toBe(2);
  const crowded = new Coalesced(never, keeping(60_000, 1000));
  for (let i = 0; i < 10; i++) await crowded.get(`key ${i}`, ask);
  const before = count;
  await crowded.get('key 9', ask);
  expect(count).toBe(before);
  await crowded.get('key 0', ask);
  expect(count).toBe(before + 1);
});

test('the end of the server ends what is asked', async () => {
  const { asked, ask } = questions();
  const closing = new AbortController();
  const answers = new Coalesced(closing.signal, keeping(0));
  const waiting = answers.get('a', ask);
  closing.abort();
  expect(asked[0]?.signal.aborted).toBe(true);
  asked[0]?.reject(new Error('ended'));
  await expect(waiting).rejects.toThrow('ended');
});
