/** Test projects: one for each package, and `e2e` for the tests that start real servers, one file at a time. */
import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { nodeFlags } from './scripts/lib/node-flags.ts';

const packages = readdirSync(new URL('packages', import.meta.url)).sort();
/** Tests run as production does. */
const execArgv = [...nodeFlags];

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', './test/reporter.ts'],
    projects: [
      ...packages.map((name) => ({
        test: {
          name,
          root: `packages/${name}`,
          include: ['test/**/*.test.ts'],
          testTimeout: 20_000,
          hookTimeout: 20_000,
          execArgv,
        },
      })),
      {
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts'],
          globalSetup: 'test/temporary-folder.ts',
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          // After the packages: their servers would slow each other down.
          sequence: { groupOrder: 1 },
          execArgv,
        },
      },
    ],
  },
});
