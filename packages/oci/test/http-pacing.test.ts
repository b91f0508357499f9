/** Pacing: what a busy host makes of the requests that follow. */
import { expect, test } from 'vitest';
import { Pacing } from '../src/http/pacing.ts';

function clocked() {
  let now = 1_000_000;
  const waits: number[] = [];
  const pacing = new Pacing({
    now: () => now,
    sleep: async (ms) => {
      waits.push(ms);
    },
  });
  const pass = (ms: number): void => {
    now += ms;
  };
  return { pacing, waits, pass };
}

test('a host that never was busy is asked at once', async () => {
  const { pacing, waits } = clocked();
  pacing.saw('ghcr.io', 200, undefined);
  await pacing.turn('ghcr.io');
  expect(waits).toEqual([]);
});

test('after a 429 all wait as long as it asks, then go one after the other; other hosts do not (F08)', async () => {
  const { pacing, waits } = clocked();
  pacing.saw('ghcr.io', 429, 3000);
  await pacing.turn('ghcr.io');
  await pacing.turn('ghcr.io');
  await pacing.turn('factory.talos.dev');
  expect(waits).toEqual([3000, 3050]);
});

test('what it does not ask for doubles with each refusal; a hostile Retry-After is capped (T40)', async () => {
  const { pacing, waits, pass } = clocked();
  pacing.saw('a', 503, undefined);
  await pacing.turn('a');
  pass(500);
  pacing.saw('a', 503, undefined);
  await pacing.turn('a');
  pass(60_000);
  pacing.saw('b', 429, 1e12);
  await pacing.turn('b');
  pacing.saw('c', 429, -5);
  await pacing.turn('c');
  expect(waits).toEqual([500, 1000, 60_000]);
});

test('good answers make it faster again, until it is as if nothing had been', async () => {
  const { pacing, waits, pass } = clocked();
  pacing.saw('a', 429, 0);
  for (let i = 0; i < 10; i++) pacing.saw('a', 200, undefined);
  pass(1000);
  await pacing.turn('a');
  await pacing.turn('a');
  expect(waits).toEqual([]);
});

test('a wait ends with the signal', async () => {
  const pacing = new Pacing();
  pacing.saw('a', 429, 30_000);
  const signal = AbortSignal.timeout(10);
  await expect(pacing.turn('a', signal)).rejects.toMatchObject({ code: 'ABORTED' });
});
