/**
 * A process that takes locks while a test watches, stops or kills it:
 *
 *     node lock-child.ts                         does what each line on its standard input says, and answers with a line
 *         MODE WAIT-MS LOCK    takes a lock (MODE shared, exclusive, or reader): held, unlocked, or the error
 *         release              gives the last one back: released
 *     node lock-child.ts contend LOCK SEED COUNT takes the lock COUNT times and dies in some, holding it
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isCoded } from '../src/base/errors.ts';
import { acquireLock, acquireReadLock } from '../src/fs/lock.ts';
import { seededRandom } from '../src/testing/generated-blob.ts';

const purpose = 'omni-airgap test';

async function take(mode: string, waitMs: number, path: string): Promise<() => Promise<void>> {
  const lock =
    mode === 'reader'
      ? await acquireReadLock(path, { purpose, waitMs, create: true })
      : await acquireLock(path, mode === 'shared' ? 'shared' : 'exclusive', { purpose, waitMs });
  process.stdout.write(lock.mode === 'none' ? 'unlocked\n' : 'held\n');
  return () => lock.release();
}

async function contend(path: string, seed: number, count: number): Promise<void> {
  const random = seededRandom(seed);
  for (let i = 0; i < count; i++) {
    const lock = await acquireLock(path, 'exclusive', { purpose, waitMs: 60_000, temporary: true });
    // Throws when another process is inside.
    mkdirSync(`${path}.inside`);
    await sleep(random() * 3);
    rmdirSync(`${path}.inside`);
    if (i > 2 && random() < 0.1) process.kill(process.pid, 'SIGKILL');
    await lock.release();
  }
  process.stdout.write('done\n');
}

const [mode, path = '', ...numbers] = process.argv.slice(2);
if (mode === 'contend') {
  const [seed = 0, count = 0] = numbers.map(Number);
  await contend(path, seed, count);
} else {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  let release: (() => Promise<void>) | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    const [mode = '', waitMs = '', path = ''] = line.split(' ');
    try {
      if (mode === 'release') {
        await release?.();
        process.stdout.write('released\n');
      } else if (mode === 'forget') {
        release = undefined;
        collectGarbage();
        process.stdout.write('forgotten\n');
      } else release = await take(mode, Number(waitMs), path);
    } catch (error) {
      process.stdout.write(isCoded(error) ? `${error.message} [${error.code}]\n` : `${error}\n`);
    }
  }
}
