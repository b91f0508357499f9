/** A gc that is killed once it has changed the store N times: `killed-gc.ts STORE N [UNTAGGED_MS]`. */
import { createRequire, syncBuiltinESMExports } from 'node:module';

type Operation = (...args: unknown[]) => Promise<unknown>;

const [store = '', n = '0', untaggedMs] = process.argv.slice(2);
const fs = createRequire(import.meta.url)('node:fs/promises') as unknown as Record<string, Operation>;
let changes = 0;
for (const name of ['rename', 'rm']) {
  const run = fs[name];
  if (run === undefined) continue;
  fs[name] = async (...args) => {
    const result = await run(...args);
    // The note of who holds a lock is made and removed each time.
    if (!String(args[0]).includes('.lock.holder-') && ++changes === Number(n))
      process.kill(process.pid, 'SIGKILL');
    return result;
  };
}
syncBuiltinESMExports();
const { Store } = await import('../../packages/store/src/store.ts');
await Store.use(store, { access: 'exclusive', purpose: 'gc' }, (opened) =>
  opened.collectGarbage({
    deleteUntaggedAfterMs: untaggedMs === undefined ? undefined : Number(untaggedMs),
  }),
);
