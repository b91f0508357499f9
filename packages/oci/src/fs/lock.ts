/**
 * Locks that the kernel keeps and frees: shared by many processes or held by one, across containers, freed the moment a
 * process ends however it ends. Node.js has no flock, but SQLite holds POSIX record locks on its file for as long as a
 * transaction is open, so a lock is an open transaction on an empty file.
 * https://www.sqlite.org/lockingv3.html, fcntl(2) "Advisory record locking"
 *
 * Nothing else may open the lock file: closing any descriptor of a file drops the POSIX locks that the process has on it.
 * So who holds the lock stands in files beside it (lock-notes.ts).
 *
 * A file system that keeps locks on one host only (some FUSE mounts) protects the processes of that host only.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  statfsSync,
  unlinkSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, systemCodeOf } from '../base/errors.ts';
import { diskError } from './disk-error.ts';
import { holdersOf, leaveNote, removeNote } from './lock-notes.ts';

/** Held together with other shared holders, or alone. */
export type LockMode = 'shared' | 'exclusive';

/** How a lock is taken. */
export interface LockOptions {
  /** The command that takes the lock, for the message that others get: `omni-airgap fetch`. Default: it stays unnamed. */
  readonly purpose?: string;
  /** Milliseconds to wait for other holders. Default 0: a lock that others hold is refused at once. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** True: the release also removes the lock file. For exclusive locks only. Default false. */
  readonly temporary?: boolean;
}

/** A lock that is held until it is released or the process ends. */
export interface Lock {
  readonly mode: LockMode;
  /** Frees the lock, also when called again. Never throws: the end of the process frees it too. */
  release(): Promise<void>;
}

/** What a reader has in place of a lock where there is no lock file. */
export interface Unlocked {
  readonly mode: 'none';
  /** `missing`: the reader creates none. `read-only`: it cannot, so a warning is due; on read-only media nothing changes. */
  readonly why: 'missing' | 'read-only';
  release(): Promise<void>;
}

/** An attempt that fails holds parts of the lock for a moment, and must not make another attempt fail. */
const settleMs = 250;
const leastAttempts = 4;
const longestPauseMs = 200;

/** Keeps the garbage collector from closing what a caller lost. */
const held = new Set<DatabaseSync>();

/**
 * Takes a lock; the file is created when missing, in a folder that exists. Decisions on the state that the lock protects
 * come afterwards: whatever was read before may have changed.
 *
 * A lock file that is removed or replaced meanwhile (`rm -r` of its folder) is not taken: the lock is always on the file
 * that the path names when this returns.
 * @param path of the lock file, which stays empty
 * @throws BUSY when others hold it, naming them; DISK, also for a file system without locks; the reason of `signal`
 */
export async function acquireLock(path: string, mode: LockMode, options: LockOptions = {}): Promise<Lock> {
  return acquire<never>(path, mode, options, () => {
    createEmpty(path);
    return undefined;
  });
}

/**
 * Takes the shared lock for a command that changes nothing under it, so that it also works on read-only media.
 * @param options.create false: a missing lock file is not created
 * @throws as acquireLock
 */
export async function acquireReadLock(
  path: string,
  options: LockOptions & { readonly create: boolean },
): Promise<Lock | Unlocked> {
  return acquire(path, 'shared', options, () => {
    if (!options.create) return unlocked('missing');
    try {
      createEmpty(path);
      return undefined;
    } catch (error) {
      if (['EROFS', 'EACCES', 'EPERM'].includes(systemCodeOf(error) ?? '')) return unlocked('read-only');
      throw error;
    }
  });
}

/**
 * True while a process, this one included, has the lock; false when its file is missing. Of use only for a lock file
 * whose name is never taken twice: whatever such a lock protected is abandoned for good once this is false.
 * @throws DISK
 */
export async function isLocked(path: string): Promise<boolean> {
  const { DatabaseSync } = await import('node:sqlite');
  const attempt = tryLock(DatabaseSync, path, 'shared');
  if (typeof attempt === 'string') return attempt === 'busy';
  attempt.db.close();
  return false;
}

/** Removes a lock file that no process holds. Of use only for one whose name is never taken twice. @throws DISK */
export async function removeFreeLock(path: string): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite');
  const attempt = tryLock(DatabaseSync, path, 'exclusive');
  if (typeof attempt === 'string') return;
  removeOwn(path, attempt.identity);
  attempt.db.close();
}

/** @param whenMissing creates the file, or gives what there is in place of a lock */
async function acquire<T extends Unlocked>(
  path: string,
  mode: LockMode,
  { purpose, waitMs = 0, signal, temporary = false }: LockOptions,
  whenMissing: () => T | undefined,
): Promise<Lock | T> {
  const { DatabaseSync } = await import('node:sqlite');
  const deadline = performance.now() + Math.max(waitMs, settleMs);
  for (let attempts = 1; ; attempts++) {
    signal?.throwIfAborted();
    const attempt = tryLock(DatabaseSync, path, mode);
    if (typeof attempt === 'object') return hold(attempt, path, mode, purpose, temporary);
    if (attempt === 'missing') {
      const instead = whenMissing();
      if (instead !== undefined) return instead;
      if (attempts < leastAttempts) continue;
    } else if (attempts > leastAttempts && performance.now() >= deadline) throw await refusal(path);
    // Two that began together must not meet again.
    const pauseMs = Math.min(2 ** attempts, longestPauseMs) * Math.random();
    await sleep(pauseMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

interface Attempt {
  readonly db: DatabaseSync;
  readonly identity: string;
}

/** @throws DISK */
function tryLock(Database: typeof DatabaseSync, path: string, mode: LockMode): Attempt | 'missing' | 'busy' {
  const identity = identityOf(path);
  if (identity === undefined) return 'missing';
  let db: DatabaseSync | undefined;
  try {
    db = new Database(path, { readOnly: mode === 'shared' });
    if (mode === 'shared') {
      db.exec('BEGIN');
      // Only a read takes the lock.
      db.prepare('SELECT count(*) FROM sqlite_schema').get();
    } else {
      // On a file that it cannot write to, SQLite takes a shared lock in place of the exclusive one: the change, which
      // stays in memory, fails there.
      db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE; PRAGMA user_version = 1');
    }
  } catch (error) {
    db?.close();
    const code = resultCodeOf(error);
    if (code === Result.busy) return 'busy';
    if (identityOf(path) !== identity) return 'busy';
    throw lockError(error, code, path, mode);
  }
  // The file that was locked cannot have lost its inode number to another one while SQLite has it open.
  if (identityOf(path) === identity) return { db, identity };
  db.close();
  return 'busy';
}

async function hold(
  { db, identity }: Attempt,
  path: string,
  mode: LockMode,
  purpose: string | undefined,
  temporary: boolean,
): Promise<Lock> {
  held.add(db);
  const note = purpose === undefined ? undefined : await leaveNote(path, purpose, mode === 'exclusive');
  return {
    mode,
    release: async () => {
      if (!held.delete(db)) return;
      if (note !== undefined) removeNote(note);
      if (temporary) removeOwn(path, identity);
      db.close();
    },
  };
}

/** Removes the lock file while it is still locked, unless the path names another one by now. */
function removeOwn(path: string, identity: string): void {
  try {
    if (identityOf(path) === identity) unlinkSync(path);
  } catch {
    // It locks nothing: whoever comes next takes it.
  }
}

function unlocked(why: Unlocked['why']): Unlocked {
  return { mode: 'none', why, release: async () => {} };
}

/** Unless there is one. No lock is lost by it: this process has none on a file that is new. @throws DISK */
function createEmpty(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o666));
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw diskError(error, path);
  }
}

/**
 * What tells one lock file from the next under the same name; undefined when there is none. The change time is part of
 * it since inode numbers are used again.
 * @throws DISK when it is no empty regular file
 */
function identityOf(path: string): string | undefined {
  let info: BigIntStats | undefined;
  try {
    info = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    throw diskError(error, path);
  }
  if (info === undefined) return undefined;
  if (info.isFile() && info.size === 0n) return `${info.dev}:${info.ino}:${info.ctimeNs}`;
  throw new CodedError('DISK', `${path}: is not an empty file, so it is no lock of this program; remove it`);
}

/** Primary result codes, https://www.sqlite.org/rescode.html */
const Result = { perm: 3, busy: 5, readOnly: 8, ioError: 10, cannotOpen: 14, protocol: 15 } as const;

function resultCodeOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function lockError(error: unknown, code: number | undefined, path: string, mode: LockMode): CodedError {
  if (code === Result.cannotOpen || code === Result.readOnly) {
    try {
      // SQLite does not say why.
      accessSync(path, mode === 'shared' ? constants.R_OK : constants.R_OK | constants.W_OK);
      // A file system whose journal has failed still grants access: only a write finds it read-only.
      if (mode === 'exclusive') tryToWrite(path);
    } catch (cause) {
      return diskError(cause, path);
    }
  }
  if (code === Result.perm || code === Result.ioError || code === Result.protocol) {
    return withoutLocks(path, error);
  }
  return diskError(error, path);
}

/** Creates a file beside the lock file and removes it. @throws as the file system refuses it */
function tryToWrite(path: string): void {
  const probe = probeOf(path);
  closeSync(openSync(probe, 'wx', 0o666));
  unlinkSync(probe);
}

/** A name that nobody uses. */
function probeOf(path: string): string {
  return `${path}.probe-${randomBytes(4).toString('hex')}`;
}

function withoutLocks(path: string, cause?: unknown): CodedError {
  const folder = dirname(path);
  return new CodedError(
    'DISK',
    `${folder}: the file system (${fileSystemOf(folder)}) does not lock files: use a folder on another one, ` +
      `or mount it with locks, then run this command again (lock: ${path})`,
    { cause },
  );
}

/** Those of linux/magic.h that may lack locks. */
const fileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x01021997, '9p'],
  [0x65735546, 'fuse'],
  [0x517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x00c36400, 'ceph'],
  [0x0bd00bd0, 'lustre'],
  [0x5346414f, 'afs'],
  [0x47504653, 'gpfs'],
]);

function fileSystemOf(folder: string): string {
  try {
    const { type } = statfsSync(folder);
    return fileSystems.get(type >>> 0) ?? `type 0x${(type >>> 0).toString(16)}`;
  } catch {
    return 'of unknown type';
  }
}

/** What to tell a command that others keep waiting. */
async function refusal(path: string): Promise<CodedError> {
  const holders = await holdersOf(path);
  // SQLite reports ENOLCK (a file server whose lock service is down) as a lock of others, which would have left a note.
  if (holders.length === 0 && (await locksNothing(path))) return withoutLocks(path);
  return new CodedError(
    'BUSY',
    `${dirname(path)}: in use by ${holders.length === 0 ? 'another process' : holders.join(' and ')}: ` +
      `wait for ${holders.length > 1 ? 'them' : 'it'} to end, then run this command again (lock: ${path})`,
  );
}

/** True when not even a lock that nobody else knows of can be taken beside it. */
async function locksNothing(path: string): Promise<boolean> {
  const probe = probeOf(path);
  try {
    createEmpty(probe);
    return await isLocked(probe);
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true }).catch(() => {});
  }
}
