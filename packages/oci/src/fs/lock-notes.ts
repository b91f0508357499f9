/**
 * Who holds a lock: notes in files beside it, `<lock>.holder-<8 hex>`, one for each holder. They are read for messages
 * only, never to decide anything: a killed process leaves its note, and a process number says little in a container.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { systemCodeOf } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { readSmallFile } from './files.ts';

const maxNotes = 32;
const maxNamed = 3;

interface Holder {
  readonly purpose: string;
  readonly host: string;
  readonly pid: number;
  /** ISO 8601, seconds. */
  readonly since: string;
  /** Together they say where the process number counts. */
  readonly boot: string;
  readonly pidNamespace: string;
}

/** Nothing happens when that fails: the lock says what holds. */
export function removeNote(note: string): void {
  try {
    rmSync(note, { force: true });
  } catch {
    // The next holder tries again.
  }
}

/** Descriptions for a message, newest first: three at most, then a number. Empty when no note tells. */
export async function holdersOf(path: string): Promise<string[]> {
  const holders = await readNotes(path);
  const named = holders.slice(0, maxNamed).map(describe);
  if (holders.length > named.length) named.push(`${holders.length - named.length} more`);
  return named;
}

function describe({ purpose, pid, host, since }: Holder): string {
  return `${printable(purpose, 60)} (process ${pid} on host ${printable(host, 64)}, since ${printable(since, 24)})`;
}

/**
 * Leaves a note beside a lock that was just taken, and removes those that killed processes left.
 * @param isAlone nobody else has the lock
 * @returns its path, for removeNote; undefined when it cannot be written
 */
export async function leaveNote(
  path: string,
  purpose: string,
  isAlone: boolean,
): Promise<string | undefined> {
  const holder: Holder = {
    purpose,
    host: hostname(),
    pid: process.pid,
    since: `${new Date().toISOString().slice(0, 19)}Z`,
    boot: bootId(),
    pidNamespace: pidNamespace(),
  };
  const note = `${path}.holder-${randomBytes(4).toString('hex')}`;
  try {
    // Then every other note is one of a process that is gone.
    if (isAlone) for (const other of await notesOf(path)) removeNote(other);
    else await readNotes(path);
    writeFileSync(note, JSON.stringify(holder), { flag: 'wx' });
    return note;
  } catch {
    // A read-only medium takes no notes; the lock holds all the same.
    return undefined;
  }
}

/** Newest first. Notes of processes that are certainly gone, and those beyond the bound, are removed. */
async function readNotes(path: string): Promise<Holder[]> {
  const found: { readonly note: string; readonly holder: Holder }[] = [];
  const useless: string[] = [];
  for (const note of await notesOf(path)) {
    const holder = await readNote(note);
    // It may just be being written.
    if (holder === undefined) continue;
    if (isGone(holder)) useless.push(note);
    else found.push({ note, holder });
  }
  found.sort((a, b) => (a.holder.since < b.holder.since ? 1 : -1));
  for (const { note } of found.splice(maxNotes)) useless.push(note);
  for (const note of useless) removeNote(note);
  return found.map(({ holder }) => holder);
}

async function notesOf(path: string): Promise<string[]> {
  const folder = dirname(path);
  const start = `${basename(path)}.holder-`;
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.startsWith(start)).map((name) => join(folder, name));
}

/** Undefined for what is no note. */
async function readNote(note: string): Promise<Holder | undefined> {
  try {
    const bytes = await readSmallFile(note, 4096);
    const holder = JSON.parse(Buffer.from(bytes ?? []).toString());
    const texts = [holder.purpose, holder.host, holder.since, holder.boot, holder.pidNamespace];
    return texts.every((text) => typeof text === 'string') && Number.isInteger(holder.pid)
      ? holder
      : undefined;
  } catch {
    return undefined;
  }
}

/** True when the process certainly runs no more. */
function isGone({ host, boot, pidNamespace: namespace, pid }: Holder): boolean {
  if (host !== hostname()) return false;
  if (boot !== bootId()) return true;
  if (namespace !== pidNamespace()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCodeOf(error) === 'ESRCH';
  }
}

/** Empty where there is no /proc of Linux. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
