/** What other tests rely on: growth tells linear from quadratic, and a seed of a failed test is printed. */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { growthOf, linearGrowth } from '../src/testing/growth.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

/** Does `count` steps. */
function work(count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum = (sum * 31 + i) | 0;
  return sum;
}

test('growth tells linear from quadratic', async () => {
  expect(await growthOf(64_000, (size) => size, work)).toBeLessThan(linearGrowth);
  expect(await growthOf(4_000, (size) => size * size, work)).toBeGreaterThan(linearGrowth);
});

test('the seed of a failed test is printed, and TEST_SEED repeats it', async () => {
  const folder = await temporaryFolder();
  const seeds = fileURLToPath(new URL('../src/testing/random-seed.ts', import.meta.url));
  await writeFile(
    join(folder, 'a.test.js'),
    `import { randomSeed } from ${JSON.stringify(seeds)};
     test('fails', () => expect(randomSeed()).toBe(0));
     test('passes', () => expect(randomSeed()).not.toBe(0));`,
  );
  const vitest = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
  const run = (environment: Readonly<Record<string, string>>): string => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [vitest, 'run', '--root', folder, '--globals', '--no-cache'],
      { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: folder, ...environment }, timeout: 60_000 },
    );
    return stdout + stderr;
  };
  expect(run({}).match(/TEST_SEED=[0-9]{13}/g)).toHaveLength(1);
  expect(run({ TEST_SEED: '42' })).toContain('TEST_SEED=42');
});
