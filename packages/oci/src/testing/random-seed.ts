/** Seeds for tests that want another course of events in each run, and the same one again after a failure. */
import { onTestFailed } from 'vitest';

/** @returns `TEST_SEED` from the environment, or the time; printed when the running test fails */
export function randomSeed(): number {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now());
  onTestFailed(() => console.error(`seed of this run: set TEST_SEED=${seed} to repeat it`));
  return seed;
}
