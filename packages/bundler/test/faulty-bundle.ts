/**
 * A process that makes bundles, one after another, while the file operations of each are counted: the one with a given
 * number goes wrong. Argument: JSON of the runs, as in child.ts. Prints a line of JSON for each.
 *
 * A run that is stopped stays at its operation for ever and does no other, as if it had been killed there: what it
 * leaves on the disk is the same, and no process has to start for the next one.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { FaultyRun, Outcome } from './child.ts';

type Operation = (...args: unknown[]) => Promise<unknown>;
type Operations = Record<string, Operation>;

interface State {
  readonly run: FaultyRun;
  readonly stop: () => void;
  operations: number;
  hit: string | undefined;
}

const names = ['open', 'rename', 'rm', 'mkdir', 'unlink'];
const handleNames = ['read', 'write', 'writeFile', 'sync', 'datasync', 'truncate', 'close'];
const current = new AsyncLocalStorage<State>();
const forEver = new Promise<never>(() => {});
/** Files of runs that were stopped: Node.js calls it an error when one that is open is no longer referred to. */
const kept: unknown[] = [];

function counted(operation: Operation, name: string): Operation {
  return async function (this: unknown, ...args: unknown[]): Promise<unknown> {
    const state = current.getStore();
    if (state === undefined) return operation.apply(this, args);
    const { how, at } = state.run;
    // Notes of who holds a lock are for messages only: nothing depends on them.
    const [path] = args;
    if (typeof path === 'string' && path.includes('.lock.holder-'))
      return current.exit(() => operation.apply(this, args));
    // Some are made of others, which do not count.
    const perform = (): Promise<unknown> => current.exit(() => operation.apply(this, args));
    if (how === 'stop' && state.hit !== undefined) return forEver;
    state.operations++;
    if (state.operations !== at) {
      const result = await perform();
      if (name === 'open' && how === 'stop') kept.push(result);
      return how === 'stop' && state.hit !== undefined ? forEver : result;
    }
    state.hit = name;
    if (how === 'kill' || how === 'stop') {
      // What it gives, an error too, nobody gets to know.
      await perform().then(
        (result) => kept.push(result),
        () => undefined,
      );
      if (how === 'kill') process.kill(process.pid, 'SIGKILL');
      state.stop();
      return forEver;
    }
    if (name === 'close') await perform();
    throw Object.assign(new Error(`${how}: injected into ${name}`), { code: how });
  };
}

const require = createRequire(import.meta.url);
const fs = require('node:fs/promises') as unknown as Operations;
for (const name of names) {
  const operation = fs[name];
  if (operation !== undefined) fs[name] = counted(operation, name);
}
const handle = await require('node:fs/promises').open(process.execPath, 'r');
const prototype = Object.getPrototypeOf(handle) as Operations;
await handle.close();
for (const name of handleNames) {
  const operation = prototype[name];
  if (operation !== undefined) prototype[name] = counted(operation, name);
}
const { statfs } = fs;
fs['statfs'] = async (...args) =>
  current.getStore()?.run.how === 'blind' ? { bavail: 2 ** 40, bsize: 4096 } : statfs?.(...args);
syncBuiltinESMExports();

const { bundle } = await import('../src/index.ts');
for (const run of JSON.parse(process.argv[2] ?? '[]') as FaultyRun[]) {
  const stopped = Promise.withResolvers<void>();
  const state: State = { run, stop: stopped.resolve, operations: 0, hit: undefined };
  let failed: Outcome['failed'];
  try {
    await Promise.race([current.run(state, () => bundle(run.options)), stopped.promise]);
  } catch (error) {
    failed = { code: String((error as { code?: unknown }).code), message: (error as Error).message };
  }
  const { operations, hit } = state;
  console.log(JSON.stringify({ operations, hit, failed } satisfies Outcome));
}
// What was stopped is never done.
process.exit(0);
