import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WorkQueue } from '../src/base/tasks.ts';
import { seededRandom } from '../src/testing/generated-blob.ts';

describe('work queue', () => {
  test('starts the heaviest first, equals in the order they came', async () => {
    const queue = new WorkQueue(1);
    const order: string[] = [];
    const work = [
      ['a', 5],
      ['b', 1],
      ['c', 9],
      ['d', 5],
      ['e', 9],
      ['f', 0],
    ] as const;
    // The first takes the free slot; the others wait and are sorted.
    await Promise.all([
      queue.run(3, () => turn()),
      ...work.map(([name, weight]) => queue.run(weight, async () => void order.push(name))),
    ]);
    expect(order.join('')).toBe('ceadbf');
  });

  test('hundreds of random weights come out sorted', async () => {
    const queue = new WorkQueue(1);
    const random = seededRandom(3);
    const weights = Array.from({ length: 500 }, () => Math.floor(random() * 100));
    const done: number[] = [];
    await Promise.all([
      queue.run(0, () => turn()),
      ...weights.map((weight) => queue.run(weight, async () => void done.push(weight))),
    ]);
    expect(done).toEqual([...weights].sort((a, b) => b - a));
  });

  test('never more at once than it has slots, and never fewer while work waits', async () => {
    const queue = new WorkQueue(3);
    let running = 0;
    const seen: number[] = [];
    const task = async (): Promise<void> => {
      running++;
      await turn();
      seen.push(running);
      running--;
    };
    await Promise.all(Array.from({ length: 30 }, (_, i) => queue.run(i, task)));
    expect(Math.max(...seen)).toBe(3);
    expect(seen.filter((n) => n === 3).length).toBeGreaterThan(8);
    expect(running).toBe(0);
  });

  test('gives results and errors to whoever asked, and the slot to the next', async () => {
    const queue = new WorkQueue(1);
    const failing = queue.run(1, () => Promise.reject(new Error('no')));
    const throwing = queue.run(1, () => {
      throw new Error('at once');
    });
    const working = queue.run(1, async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    await expect(throwing).rejects.toThrow('at once');
    expect(await working).toBe('yes');
    expect(await queue.run(1, async () => 'again')).toBe('again');
  });
});
