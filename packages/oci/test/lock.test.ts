/** Locks between real processes: stopped, killed, in other PID namespaces, on read-only media. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, describe, expect, onTestFinished, type TestContext, test, vi } from 'vitest';
import { acquireLock, acquireReadLock, isLocked } from '../src/fs/lock.ts';
import { ended, finished, startChild } from '../src/testing/child.ts';
import { randomSeed } from '../src/testing/random-seed.ts';
import { run, skipWithout } from '../src/testing/run.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

/** Called with the path before SQLite opens it. */
const hooks = vi.hoisted(() => ({
  beforeOpen: (_path: string): void => {},
  afterOpen: (_path: string): void => {},
}));

vi.mock('node:sqlite', async (original) => {
  const { DatabaseSync } = await original<typeof import('node:sqlite')>();
  class Hooked extends DatabaseSync {
    constructor(path: string, options: object) {
      hooks.beforeOpen(path);
      super(path, options);
      hooks.afterOpen(path);
    }
  }
  return { DatabaseSync: Hooked };
});

beforeEach(() => {
  hooks.beforeOpen = hooks.afterOpen = () => {};
});

const program = new URL('./lock-child.ts', import.meta.url);
const purpose = 'omni-airgap test';

class Contender {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  /** @param before a program with arguments that starts the process */
  constructor(before: readonly string[] = []) {
    const [command = '', ...args] = [...before, process.execPath, fileURLToPath(program)];
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ended = ended(this.#child);
    this.#lines = createInterface({ input: this.#child.stdout as Readable })[Symbol.asyncIterator]();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async say(command: string): Promise<string> {
    this.#child.stdin?.write(`${command}\n`);
    return (await this.#lines.next()).value ?? 'ended';
  }

  /** What it gets that asks for the lock. */
  take(path: string, mode: string, waitMs = 0): Promise<string> {
    return this.say(`${mode} ${waitMs} ${path}`);
  }

  /** What it gets that asks for the lock and gives it back at once. */
  async try(path: string, mode: string): Promise<string> {
    const outcome = await this.take(path, mode);
    if (outcome === 'held') await this.release();
    return outcome;
  }

  async hold(path: string, mode: string): Promise<this> {
    expect(await this.take(path, mode)).toBe('held');
    return this;
  }

  async release(): Promise<void> {
    expect(await this.say('release')).toBe('released');
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Ended with the test. */
function contender(before: readonly string[] = []): Contender {
  const started = new Contender(before);
  onTestFinished(() => started.kill());
  return started;
}

/** For tests that need no more than another process. */
let other: Contender;
beforeAll(() => {
  other = new Contender();
  return () => other.kill();
});

async function lockPath(): Promise<string> {
  return join(await temporaryFolder(), 'content.lock');
}

/** Leaves the test out for users that may not; under CI=true they must. */
function skipUnlessRoot(context: TestContext): void {
  if (process.getuid?.() === 0) return;
  if (process.env['CI'] === 'true') throw new Error('the tests of locks need root under CI');
  context.skip('needs root');
}

const refused = /in use by .* \[BUSY\]$/;

describe('between processes', () => {
  test('A2 sharers hold it together, and with them nobody alone', async () => {
    const path = await lockPath();
    const one = await contender().hold(path, 'shared');
    const two = await contender().hold(path, 'shared');
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await one.release();
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await two.release();
    expect(await other.try(path, 'exclusive')).toBe('held');
  });

  test('A2 held by one alone, it is refused to everybody', async () => {
    const path = await lockPath();
    const one = await contender().hold(path, 'exclusive');
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    expect(await other.try(path, 'shared')).toMatch(refused);
    expect(await other.try(path, 'reader')).toMatch(refused);
    await one.release();
    expect(await other.try(path, 'shared')).toBe('held');
  });

  test.for(['shared', 'exclusive'])(
    'A3 F2 a lock (%s) is kept from other PID namespaces',
    async (mode, context) => {
      skipWithout(context, 'unshare');
      skipUnlessRoot(context);
      const inside = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
      const path = await lockPath();
      const far = contender(inside);
      const near = await contender().hold(path, mode);
      expect(await far.try(path, 'exclusive')).toMatch(refused);
      expect(await far.try(path, 'shared')).toMatch(mode === 'shared' ? 'held' : refused);
      await near.release();
      await far.hold(path, mode);
      // A number of another namespace is not looked up here.
      expect(await other.try(path, 'exclusive')).toContain('in use by omni-airgap test (process 1 on host ');
      await far.release();
      expect(await other.try(path, 'exclusive')).toBe('held');
    },
  );

  test('A3 F2 a process that is stopped keeps it', async () => {
    const path = await lockPath();
    const one = await contender().hold(path, 'exclusive');
    one.signal('SIGSTOP');
    while (!/\) T /.test(readFileSync(`/proc/${one.pid}/stat`, 'latin1'))) await sleep(5);
    expect(await other.try(path, 'shared')).toMatch(refused);
    one.signal('SIGCONT');
    await one.release();
    expect(await other.try(path, 'shared')).toBe('held');
  });

  test.for(['shared', 'exclusive'])('A3 F2 a lock (%s) is free when its process is killed', async (mode) => {
    const path = await lockPath();
    const one = await contender().hold(path, mode);
    await one.kill();
    expect(await other.try(path, 'exclusive')).toBe('held');
  });

  test('a lock is kept when nothing in its process refers to it', async () => {
    const path = await lockPath();
    const one = await contender().hold(path, 'exclusive');
    expect(await one.say('forget')).toBe('forgotten');
    expect(await other.try(path, 'shared')).toMatch(refused);
  });

  test('A3 F2 a lock of a process with our number, as in a container, is free when that is gone', async () => {
    const path = await lockPath();
    await writeFile(path, '');
    await writeFile(
      `${path}.holder-00000001`,
      JSON.stringify({ purpose: 'x', host: 'here', pid: process.pid }),
    );
    await (await acquireLock(path, 'exclusive', { purpose })).release();
    expect(await readdir(join(path, '..'))).toEqual(['content.lock']);
  });

  test('A14 of many processes, some killed, one at a time is inside', async () => {
    const path = await lockPath();
    const seed = randomSeed();
    const children = Array.from({ length: 6 }, (_, i) => startChild(program, 'contend', path, seed + i, 15));
    const ends = await Promise.allSettled(children.map(finished));
    for (const end of ends) {
      if (end.status === 'rejected') expect(String(end.reason)).toContain('SIGKILL');
      else expect(end.value).toBe('done\n');
    }
  });

  test('a lock that is freed in time is waited for', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'exclusive', { purpose });
    const waiting = other.take(path, 'shared', 60_000);
    await lock.release();
    expect(await waiting).toBe('held');
    await other.release();
  });

  test('whoever waits can be stopped', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'exclusive');
    const stop = new AbortController();
    const waiting = acquireLock(path, 'shared', { waitMs: 60_000, signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await lock.release();
  });
});

describe('in one process', () => {
  test('handles exclude each other as processes do', async () => {
    const path = await lockPath();
    const one = await acquireLock(path, 'shared');
    const two = await acquireLock(path, 'shared');
    await expect(acquireLock(path, 'exclusive')).rejects.toMatchObject({ code: 'BUSY' });
    await one.release();
    await one.release();
    // Closing one of two descriptors would drop the POSIX locks of both, were SQLite not careful.
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await two.release();
    const alone = await acquireLock(path, 'exclusive');
    await expect(acquireLock(path, 'shared')).rejects.toMatchObject({ code: 'BUSY' });
    expect(await other.try(path, 'shared')).toMatch(refused);
    await alone.release();
  });

  test('a refused attempt takes nothing from a lock that is held', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'exclusive');
    expect(await isLocked(path)).toBe(true);
    await expect(acquireReadLock(path, { create: true })).rejects.toMatchObject({ code: 'BUSY' });
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await lock.release();
    expect(await isLocked(path)).toBe(false);
  });
});

describe('isLocked', () => {
  test('tells the lock of a run that works from that of one that was killed', async () => {
    const path = await lockPath();
    expect(await isLocked(path)).toBe(false);
    expect(readdirSync(join(path, '..'))).toEqual([]);
    const one = await contender().hold(path, 'exclusive');
    expect(await isLocked(path)).toBe(true);
    await one.kill();
    expect(await isLocked(path)).toBe(false);
  });
});

describe('the files', () => {
  test.for(['shared', 'exclusive'] as const)('of a lock (%s) stay empty and alone', async (mode) => {
    const path = await lockPath();
    const lock = await acquireLock(path, mode);
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
    expect(statSync(path).size).toBe(0);
    await lock.release();
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
    expect(statSync(path).size).toBe(0);
  });

  test('of a temporary lock are gone after the release', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'exclusive', { purpose, temporary: true });
    expect(readdirSync(join(path, '..'))).toHaveLength(2);
    await lock.release();
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });

  test('A14 a release removes no lock but its own', async () => {
    const path = await lockPath();
    const old = await acquireLock(path, 'exclusive', { temporary: true });
    renameSync(path, `${path}.aside`);
    const lock = await acquireLock(path, 'exclusive');
    await old.release();
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await lock.release();
  });

  test('A13 the lock is on the file that the path names, also when that is replaced meanwhile', async () => {
    const path = await lockPath();
    await writeFile(path, '');
    let times = 0;
    hooks.afterOpen = () => {
      if (++times > 2) return;
      rmSync(path);
      if (times === 1) writeFileSync(path, '');
    };
    const lock = await acquireLock(path, 'exclusive');
    expect(times).toBe(3);
    expect(await other.try(path, 'shared')).toMatch(refused);
    await lock.release();
  });

  test('A13 a folder that is removed and made again has a lock of its own', async () => {
    const path = await lockPath();
    const old = await contender().hold(path, 'exclusive');
    await rm(join(path, '..'), { recursive: true });
    await mkdir(join(path, '..'));
    const lock = await acquireLock(path, 'exclusive', { purpose });
    await old.release();
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await lock.release();
  });

  test.for(['content', 'link', 'folder'])(
    'that cannot be locks (%s) are refused, and left as they are',
    async (kind) => {
      const path = await lockPath();
      if (kind === 'content') writeFileSync(path, '123-deadbeef');
      else if (kind === 'link') symlinkSync('/dev/null', path);
      else await mkdir(path);
      const refusal = { code: 'DISK', message: expect.stringContaining(`${path}: is not an empty file`) };
      await expect(acquireLock(path, 'exclusive')).rejects.toMatchObject(refusal);
      await expect(acquireReadLock(path, { create: true })).rejects.toMatchObject(refusal);
      await expect(isLocked(path)).rejects.toMatchObject(refusal);
      if (kind === 'content') expect(readFileSync(path, 'utf8')).toBe('123-deadbeef');
    },
  );
});

describe('messages', () => {
  test('name folder, holder, remedy and lock file', async () => {
    const path = await lockPath();
    await other.hold(path, 'exclusive');
    const message = await acquireLock(path, 'shared').catch((error) => error.message);
    expect(message.replace(/[0-9]{4}-[0-9T:-]+Z/, 'T').replace(/on host [^,]+,/, 'on host H,')).toBe(
      `${join(path, '..')}: in use by omni-airgap test (process ${other.pid} on host H, since T): ` +
        `wait for it to end, then run this command again (lock: ${path})`,
    );
    await other.release();
  });

  test('name every sharer, and none that is gone', async () => {
    const path = await lockPath();
    const one = await contender().hold(path, 'shared');
    const two = await contender().hold(path, 'shared');
    const killed = await contender().hold(path, 'shared');
    await killed.kill();
    const message = await acquireLock(path, 'exclusive').catch((error) => error.message);
    expect(message).toMatch(/ and .*wait for them to end/);
    for (const { pid } of [one, two]) expect(message).toContain(`(process ${pid} on host `);
    expect(message).not.toContain(`process ${killed.pid} `);
    await one.release();
    await two.release();
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
  });

  test('say so when the holder left no note', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'exclusive');
    await expect(acquireLock(path, 'shared')).rejects.toThrow(
      ': in use by another process: wait for it to end',
    );
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
    await lock.release();
  });

  test('do not grow with what lies beside the lock, and carry nothing that a screen would obey', async () => {
    const path = await lockPath();
    const lock = await acquireLock(path, 'shared');
    const note = { host: 'other', pid: 1, boot: '', pidNamespace: '' };
    for (let i = 10; i < 60; i++) {
      const purpose = `\u001b[2J${i}${'x'.repeat(1000)}`;
      await writeFile(`${path}.holder-000000${i}`, JSON.stringify({ ...note, purpose, since: `${i}` }));
    }
    await writeFile(`${path}.holder-00000100`, '{');
    await writeFile(`${path}.holder-00000101`, 'null');
    const message: string = await acquireLock(path, 'exclusive').catch((error) => error.message);
    expect(message).toContain('in use by \\u001b[2J59');
    expect(message).toContain(' and 29 more: wait for them');
    expect(message.length).toBeLessThan(800);
    expect(readdirSync(join(path, '..'))).toHaveLength(35);
    await lock.release();
    await (await acquireLock(path, 'exclusive', { purpose })).release();
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
  });
});

describe('readers', () => {
  test('that create nothing run without where there is no lock', async () => {
    const path = await lockPath();
    const lock = await acquireReadLock(path, { create: false });
    expect(lock).toMatchObject({ mode: 'none', why: 'missing' });
    await lock.release();
    expect(readdirSync(join(path, '..'))).toEqual([]);
    await writeFile(path, '');
    const shared = await acquireReadLock(path, { create: false });
    expect(shared.mode).toBe('shared');
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await shared.release();
  });

  test('on a read-only mount lock what writers of the same file system see', async (context) => {
    skipUnlessRoot(context);
    const folder = await temporaryFolder();
    const [disk, view] = [join(folder, 'disk'), join(folder, 'view')];
    await mkdir(disk);
    await mkdir(view);
    run('mount', ['--bind', disk, view]);
    onTestFinished(() => void run('umount', [view]));
    run('mount', ['-o', 'remount,bind,ro', view]);
    expect(await acquireReadLock(join(view, 'lock'), { create: true })).toMatchObject({
      mode: 'none',
      why: 'read-only',
    });
    await expect(acquireLock(join(view, 'lock'), 'shared')).rejects.toMatchObject({ code: 'DISK' });
    await writeFile(join(disk, 'lock'), '');
    const lock = await acquireReadLock(join(view, 'lock'), { create: true, purpose });
    expect(lock.mode).toBe('shared');
    expect(await other.try(join(disk, 'lock'), 'exclusive')).toMatch(refused);
    await lock.release();
    await expect(acquireLock(join(view, 'lock'), 'exclusive')).rejects.toMatchObject({
      code: 'DISK',
      message: expect.stringContaining('read-only'),
    });
  });

  test('may lock a file that they cannot write to; to lock it alone is refused', async (context) => {
    skipWithout(context, 'setpriv');
    skipUnlessRoot(context);
    // Root without the capability to pass over permissions.
    const plain = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
    const path = await lockPath();
    await writeFile(path, '');
    chmodSync(path, 0o444);
    const reader = await contender(plain).hold(path, 'reader');
    expect(await other.try(path, 'exclusive')).toMatch(refused);
    await reader.release();
    expect(await reader.try(path, 'exclusive')).toBe(`${path}: permission denied [DISK]`);
    chmodSync(path, 0o000);
    expect(await reader.try(path, 'reader')).toBe(`${path}: permission denied [DISK]`);
  });
});

describe('a file system', () => {
  test.for(['ramfs', 'tmpfs'])('of type %s locks', async (type, context) => {
    skipUnlessRoot(context);
    const folder = await temporaryFolder();
    run('mount', ['-t', type, type, folder]);
    onTestFinished(() => void run('umount', [folder]));
    const one = await contender().hold(join(folder, 'lock'), 'shared');
    expect(await other.try(join(folder, 'lock'), 'exclusive')).toMatch(refused);
    await one.release();
  });

  test.for([
    // fcntl(2) fails with ENOSYS, EOPNOTSUPP or EINVAL
    ['an error', 3850],
    ['a locking protocol error', 15],
    // with ENOLCK, which SQLite takes for a lock of others
    ['a lock that nobody has', 5],
  ] as const)('that answers with %s is refused by name', async ([, errcode]) => {
    const path = await lockPath();
    hooks.beforeOpen = () => {
      throw Object.assign(new Error('injected'), { code: 'ERR_SQLITE_ERROR', errcode });
    };
    await expect(acquireLock(path, 'exclusive', { purpose })).rejects.toMatchObject({
      code: 'DISK',
      message: expect.stringMatching(
        /: the file system \(.+\) does not lock files: use a folder on another one/,
      ),
    });
    await expect(acquireReadLock(path, { create: true })).rejects.toMatchObject({ code: 'DISK' });
    expect(readdirSync(join(path, '..'))).toEqual(['content.lock']);
  });
});
