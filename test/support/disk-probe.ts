/**
 * Preloaded into the command by tests of power cuts: writes, syncs and renames in the order in which they happened,
 * one JSON line each, in the file that they named. kill -9 cannot show a missing fsync: the kernel keeps what was written.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';

/** `syncing` is noted when a sync begins, all others when they are over; `renaming` before a rename. */
export type DiskEvent =
  | { readonly event: 'wrote' | 'syncing' | 'synced'; readonly file: string }
  | { readonly event: 'renaming'; readonly file: string; readonly path: string }
  | { readonly event: 'renamed'; readonly folder: string; readonly path: string };

type Operation = (...args: unknown[]) => Promise<unknown>;

const log = process.env['TEST_DISK_FILE'];
if (log !== undefined) {
  const { appendFileSync, statSync, fstatSync } = fs;
  const note = (event: DiskEvent): void => appendFileSync(log, `${JSON.stringify(event)}\n`);
  const identity = ({ dev, ino }: fs.Stats): string => `${dev}:${ino}`;

  const sample = await fs.promises.open(process.execPath);
  const handles = Object.getPrototypeOf(sample) as Record<string, Operation>;
  await sample.close();
  const wrap = (name: string, isSync: boolean): void => {
    const original = handles[name] as Operation;
    handles[name] = async function (this: fs.promises.FileHandle, ...args) {
      const file = identity(fstatSync(this.fd));
      if (isSync) note({ event: 'syncing', file });
      const result = await original.apply(this, args);
      note({ event: isSync ? 'synced' : 'wrote', file });
      return result;
    };
  };
  for (const name of ['write', 'writev', 'writeFile', 'appendFile', 'truncate']) wrap(name, false);
  for (const name of ['sync', 'datasync']) wrap(name, true);

  const before = (from: unknown, path: string): void =>
    note({ event: 'renaming', file: identity(statSync(String(from))), path });
  const after = (path: string): void =>
    note({ event: 'renamed', folder: identity(statSync(dirname(path))), path });
  for (const name of ['rename', 'link'] as const) {
    const original = fs.promises[name];
    fs.promises[name] = async (from, to) => {
      before(from, String(to));
      await original(from, to);
      after(String(to));
    };
    const sync = `${name}Sync` as const;
    const originalSync = fs[sync];
    fs[sync] = (from, to) => {
      before(from, String(to));
      originalSync(from, to);
      after(String(to));
    };
  }
  syncBuiltinESMExports();
}
