/**
 * For `--import` in a child process: kills it by SIGKILL just before one of its changes to files below a folder.
 * `TEST_KILL_BELOW` names the folder, `TEST_KILL_AT` says which change: 1 is the first.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const below = process.env['TEST_KILL_BELOW'] ?? '/nowhere';
let left = Number(process.env['TEST_KILL_AT']);

type Operation = (this: unknown, ...args: unknown[]) => unknown;

const owner = fs.promises as unknown as Record<string, Operation>;
for (const name of ['mkdir', 'open', 'rename', 'rm'] as const) {
  const original = owner[name] as Operation;
  owner[name] = function (this: unknown, ...args) {
    const isReading = name === 'open' && [undefined, 'r', 0].includes(args[1] as undefined);
    if (!isReading && String(args[0]).startsWith(below) && --left === 0) process.kill(process.pid, 'SIGKILL');
    return original.apply(this, args);
  };
}
syncBuiltinESMExports();
