/** How many transfers run at once: by what a line takes, on lines that are computed. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { CodedError } from '../src/base/errors.ts';
import { AdaptiveSlots, Transfers } from '../src/transfers.ts';

/** A line that gives each connection `each` bytes per ms, and all of them `all` at most. */
function simulate(slots: AdaptiveSlots, from: number, ms: number, each: number, all: number): number[] {
  const seen: number[] = [];
  for (let now = from; now < from + ms; now += 10) {
    slots.moved(10 * Math.min(slots.slots * each, all), now, true);
    if (seen.at(-1) !== slots.slots) seen.push(slots.slots);
  }
  return seen;
}

describe('slots of one host', () => {
  test('grow to the bound where each connection adds to the rate', () => {
    const slots = new AdaptiveSlots(24);
    expect(simulate(slots, 0, 5000, 25, 10_000)).toEqual([12, 15, 19, 24]);
  });
  test('stay where more connections share the same line, and are tried again later', () => {
    const slots = new AdaptiveSlots(24);
    expect(simulate(slots, 0, 9000, 25, 300)).toEqual([12, 15, 12]);
    expect(simulate(slots, 9000, 20_000, 25, 300)).toEqual([12, 15, 12, 15, 12]);
    // The line got wider.
    simulate(slots, 29_000, 20_000, 25, 10_000);
    expect(slots.slots).toBe(24);
  });
  test('grow as far as the line, with less than one step to spare', () => {
    for (const line of [13, 16, 20, 23]) {
      const slots = new AdaptiveSlots(32);
      simulate(slots, 0, 9000, 25, line * 25);
      expect(slots.slots).toBeGreaterThan(line * 0.75);
      expect(slots.slots).toBeLessThan(line * 1.25 + 1);
    }
  });
  test('are halved by a failure, once for a burst, and grow by one after a rest', () => {
    const slots = new AdaptiveSlots(24);
    for (let i = 0; i < 12; i++) slots.failed(i);
    expect(slots.slots).toBe(6);
    expect(simulate(slots, 100, 9000, 25, 10_000)).toEqual([6]);
    expect(simulate(slots, 10_000, 1500, 25, 10_000)).toEqual([7, 8, 9]);
    for (let i = 1; i < 9; i++) slots.failed(20_000 * i);
    expect(slots.slots).toBe(1);
  });
  test('say nothing about the line where nothing waits', () => {
    const slots = new AdaptiveSlots(24);
    for (let now = 0; now < 9000; now += 10) slots.moved(1000, now, false);
    expect(slots.slots).toBe(12);
  });
  test('never exceed a bound below their beginning', () => {
    const slots = new AdaptiveSlots(3);
    expect(simulate(slots, 0, 9000, 25, 10_000)).toEqual([3]);
  });
});

/** Tasks that end when they are told to. */
function held() {
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const task = (name: string) => (): Promise<void> => {
    started.push(name);
    return new Promise((resolve) => ends.push(resolve));
  };
  const endAll = async (): Promise<void> => {
    for (const end of ends.splice(0)) end();
    await turn();
  };
  return { started, task, endAll };
}

describe('transfers', () => {
  test('the heaviest goes next, whatever its host', async () => {
    const transfers = new Transfers(1);
    const { started, task, endAll } = held();
    void transfers.run(0, task('first'), 'a');
    void transfers.run(5, task('a5'), 'a');
    void transfers.run(9, task('a9'), 'a');
    void transfers.run(7, task('b7'), 'b');
    for (let i = 0; i < 5; i++) await endAll();
    expect(started).toEqual(['first', 'a9', 'b7', 'a5']);
  });
  test('a busy host gets fewer, and holds up no other', async () => {
    const transfers = new Transfers(24, () => 0);
    const { started, task, endAll } = held();
    const busy = new CodedError('UPSTREAM', 'too many requests', { status: 429 });
    transfers.failed('a', busy);
    // What is only missing says nothing about the line.
    transfers.failed('b', new CodedError('NOT_FOUND', 'not there', { status: 404 }));
    for (let i = 0; i < 30; i++) void transfers.run(100 - i, task('a'), 'a');
    for (let i = 0; i < 30; i++) void transfers.run(1, task('b'), 'b');
    await turn();
    expect(started.filter((host) => host === 'a')).toHaveLength(6);
    expect(started.filter((host) => host === 'b')).toHaveLength(12);
    for (let i = 0; i < 6; i++) await endAll();
    expect(started).toHaveLength(60);
  });
  test('more start as soon as the line takes more; never more in all than the bound', async () => {
    let now = 0;
    const transfers = new Transfers(20, () => now);
    const { started, task, endAll } = held();
    for (let i = 0; i < 100; i++) void transfers.run(1, task('a'), 'a');
    for (let i = 0; i < 100; i++) void transfers.run(1, task('b'), 'b');
    await turn();
    expect(started).toHaveLength(20);
    await endAll();
    for (; now < 3000; now += 10) transfers.moved('a', 1000 * started.length);
    await turn();
    expect(started).toHaveLength(40);
  });
  test('gives results and errors to whoever asked', async () => {
    const transfers = new Transfers(1);
    const failing = transfers.run(1, () => Promise.reject(new Error('no')));
    const working = transfers.run(1, async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    await expect(working).resolves.toBe('yes');
  });
});
