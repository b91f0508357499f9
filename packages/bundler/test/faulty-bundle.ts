/**
 * A process that makes a bundle while its file operations are counted; the one with a given number kills it, or
 * fails with an errno code. Arguments: JSON of the options, then `kill:N`, `EIO:N`, `count`, or `blind`, which takes
 * every disk for endless, so that a real one runs full. Prints how many operations there were.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { BundleOptions } from '../src/index.ts';

type Operation = (...args: unknown[]) => Promise<unknown>;
type Operations = Record<string, Operation>;

const [json = '{}', fault = 'count'] = process.argv.slice(2);
const [how = '', at] = fault.split(':');
const names = ['open', 'rename', 'rm', 'mkdir', 'unlink'];
const handleNames = ['read', 'write', 'writeFile', 'sync', 'datasync', 'truncate', 'close'];
let count = 0;

function counted(run: Operation, name: string): Operation {
  return async function (this: unknown, ...args: unknown[]): Promise<unknown> {
    const result = await run.apply(this, args);
    count++;
    if (count === Number(at)) {
      if (how === 'kill') process.kill(process.pid, 'SIGKILL');
      throw Object.assign(new Error(`${how}: injected into ${name}`), { code: how });
    }
    return result;
  };
}

const require = createRequire(import.meta.url);
const fs = require('node:fs/promises') as unknown as Operations;
for (const name of names) {
  const run = fs[name];
  if (run !== undefined) fs[name] = counted(run, name);
}
const handle = await require('node:fs/promises').open(process.execPath, 'r');
const prototype = Object.getPrototypeOf(handle) as Operations;
await handle.close();
for (const name of handleNames) {
  const run = prototype[name];
  if (run !== undefined) prototype[name] = counted(run, name);
}
if (how === 'blind') fs['statfs'] = async () => ({ bavail: 2 ** 40, bsize: 4096 });
syncBuiltinESMExports();
count = 0;

const { bundle } = await import('../src/index.ts');
try {
  await bundle(JSON.parse(json) as BundleOptions);
  console.log(count);
} catch (error) {
  console.error((error as { code?: unknown }).code, (error as Error).message);
  process.exitCode = 9;
}
