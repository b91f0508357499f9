/**
 * Faults of a disk where the kernel gives none on demand: in this process, operations on files below a folder fail with
 * the system's own errors. The program under test must run in this process too.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { onTestFinished } from 'vitest';

/** What changes files; reading goes on. */
const changing = [
  'mkdir',
  'rename',
  'rm',
  'unlink',
  'rmdir',
  'chmod',
  'truncate',
  'link',
  'symlink',
] as const;
const ofHandles = ['write', 'writeFile', 'appendFile', 'sync', 'datasync', 'truncate', 'chmod'] as const;
/** What tidies up after a failure. */
const tidying = new Set<string>(['rm', 'unlink', 'close', 'rmSync', 'unlinkSync']);

const errnos = { ENOSPC: 28, EROFS: 30, EIO: 5 } as const;
type Code = keyof typeof errnos;

export interface DiskFaults {
  /** Operations that could have failed so far. */
  readonly operations: number;
  /** The one that failed first: name and path. */
  readonly failed: string | undefined;
}

export interface FaultPlan {
  /** Files below this folder. */
  readonly root: string;
  /** Which of the operations fails first: 1 is the first. */
  readonly at: number;
  readonly first: Code;
  /** What fails after it: everything that changes files, or only what tidies up. */
  readonly after: { readonly code: Code; readonly what: 'changes' | 'tidying' };
  /** Of paths whose faults are of no consequence. */
  readonly spared?: RegExp;
}

type Operation = (this: unknown, ...args: unknown[]) => unknown;

/** Until the test ends, or `end` is called. */
export function breakDisk({
  root,
  at,
  first,
  after,
  spared = /$^/,
}: FaultPlan): DiskFaults & { end(): void } {
  const state = { operations: 0, failed: undefined as string | undefined };
  const undo: (() => void)[] = [];
  const fault = (name: string, path: unknown): NodeJS.ErrnoException | undefined => {
    const text = String(path);
    if (!text.startsWith(root) || spared.test(text)) return undefined;
    const error = (code: Code): NodeJS.ErrnoException =>
      Object.assign(new Error(`${code}: injected, ${name} '${text}'`), {
        errno: -errnos[code],
        code,
        syscall: name,
        path: text,
      });
    if (state.failed !== undefined) {
      const isHit = after.what === 'changes' ? name !== 'close' : tidying.has(name);
      return isHit ? error(after.code) : undefined;
    }
    if (tidying.has(name) && after.what === 'tidying') return undefined;
    // A folder that is there already need not be made.
    if (name === 'close' || (name === 'mkdir' && fs.existsSync(text))) return undefined;
    if (++state.operations !== at) return undefined;
    state.failed = `${name} ${text}`;
    return error(first);
  };
  const replace = (owner: object, name: string, make: (original: Operation) => Operation): void => {
    const methods = owner as Record<string, Operation>;
    const original = methods[name] as Operation;
    methods[name] = make(original);
    undo.push(() => {
      methods[name] = original;
    });
  };
  const isWriting = (flags: unknown): boolean =>
    typeof flags === 'number'
      ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0
      : /[wa+]/.test(String(flags ?? 'r'));
  for (const name of changing) {
    replace(
      fs.promises,
      name,
      (original) =>
        async function (this: unknown, ...args) {
          const error = fault(name, args[0]);
          if (error !== undefined) throw error;
          return original.apply(this, args);
        },
    );
    replace(
      fs,
      `${name}Sync`,
      (original) =>
        function (this: unknown, ...args) {
          const error = fault(`${name}Sync`, args[0]);
          if (error !== undefined) throw error;
          return original.apply(this, args);
        },
    );
  }
  replace(
    fs,
    'openSync',
    (original) =>
      function (this: unknown, ...args) {
        const error = isWriting(args[1]) ? fault('openSync', args[0]) : undefined;
        if (error !== undefined) throw error;
        return original.apply(this, args);
      },
  );
  replace(
    fs,
    'writeFileSync',
    (original) =>
      function (this: unknown, ...args) {
        const error = fault('writeFileSync', args[0]);
        if (error !== undefined) throw error;
        return original.apply(this, args);
      },
  );
  replace(
    fs.promises,
    'open',
    (original) =>
      async function (this: unknown, ...args) {
        const [path, flags] = args;
        const error = isWriting(flags) ? fault('open', path) : undefined;
        if (error !== undefined) throw error;
        const handle = (await original.apply(this, args)) as Record<string, Operation>;
        for (const name of [...ofHandles, 'close']) {
          const method = handle[name] as Operation;
          handle[name] = async (...rest) => {
            const broken = fault(name, path);
            if (name === 'close') await method.apply(handle, rest);
            if (broken !== undefined) throw broken;
            return name === 'close' ? undefined : method.apply(handle, rest);
          };
        }
        return handle;
      },
  );
  syncBuiltinESMExports();
  const end = (): void => {
    for (const one of undo.splice(0).reverse()) one();
    syncBuiltinESMExports();
  };
  onTestFinished(end);
  return {
    get operations() {
      return state.operations;
    },
    get failed() {
      return state.failed;
    },
    end,
  };
}
