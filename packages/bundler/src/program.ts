/**
 * The program itself, which travels with a bundle: the executables of a release, for the platforms that are carried, and
 * what belongs to them, and their way onto a medium. Each is what the SHA256SUMS of the release says, and stands in bundle.json under its own hash.
 */

import { lstat, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isProgramFile } from '@omni-airgap/format';
import { CodedError, giveBack, printable } from '@omni-airgap/oci/base';
import {
  diskError,
  eachBlock,
  readPieces,
  readSmallFile,
  removeFile,
  SyncedWriter,
  syncFolder,
} from '@omni-airgap/oci/fs';
import { digestOf, Hasher, hexOf } from '@omni-airgap/oci/model';
import type { LockedItem, SmallFile } from '@omni-airgap/store';
import { isFile, setMode } from './medium-files.ts';

/** An executable of a release. */
export interface ProgramFile {
  readonly name: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** 64 hex characters. */
  readonly sha256: string;
}

export interface Program {
  readonly executables: readonly ProgramFile[];
  /** What must go with them: licenses, and which libraries they need. */
  readonly texts: readonly SmallFile[];
}

const textNames = ['LICENSES.txt', 'RELEASE.txt'];
const maxTextBytes = 16 * 1024 * 1024;
const sumLine = /^([a-f0-9]{64}) [ *]([A-Za-z0-9._-]+)$/;
const flag = '--with-program';

/**
 * @param folder what `scripts/release` made
 * @param wanted names of executables; undefined for all of the release
 * @throws NO_INPUT when the folder is no release, or lacks an executable; DIGEST_MISMATCH when a file is not what its
 * SHA256SUMS says; DISK
 */
export async function readProgram(
  folder: string,
  wanted: readonly string[] | undefined,
  signal?: AbortSignal,
): Promise<Program> {
  const sums = await readSums(folder);
  const names = wanted ?? [...sums.keys()].filter(isProgramFile).sort();
  if (names.length === 0)
    throw new CodedError('NO_INPUT', `${flag} ${folder}: has no executable of omni-airgap`);
  const executables: ProgramFile[] = [];
  for (const name of names) {
    const path = join(folder, name);
    const sha256 = sumOf(sums, folder, name);
    const size = await sizeOf(path);
    const hasher = new Hasher();
    await eachBlock([{ path, offset: 0, size }], (block) => hasher.update(block), signal);
    if (hexOf(hasher.finish()) !== sha256) throw changed(path);
    executables.push({ name, path, size, sha256 });
  }
  const texts: SmallFile[] = [];
  for (const name of textNames) {
    const path = join(folder, name);
    const bytes = await readSmallFile(path, maxTextBytes);
    if (bytes === undefined) throw new CodedError('NO_INPUT', `${flag} ${folder}: ${name} is missing`);
    if (hexOf(digestOf(bytes)) !== sumOf(sums, folder, name)) throw changed(path);
    texts.push({ name, bytes });
  }
  return { executables, texts };
}

export interface CopyOptions {
  readonly readBack: boolean;
  /** Called with the number of bytes just written, or read back. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Copies an executable onto a medium, unless the medium already has it. The copy gets its name when it is complete.
 * @param mode of the copy
 * @returns whether it was copied
 * @throws DISK; DIGEST_MISMATCH when the file has changed since it was read; BAD_VOLUME when it reads back otherwise
 */
export async function copyExecutable(
  { name, path: from, size, sha256 }: ProgramFile,
  folder: string,
  mode: number,
  { readBack, onBytes, signal }: CopyOptions,
): Promise<boolean> {
  const path = join(folder, name);
  if (await isFile(path, size, sha256, signal)) return false;
  const partial = `${path}.partial`;
  await removeFile(partial);
  try {
    const hasher = new Hasher();
    const writer = await SyncedWriter.create(partial);
    try {
      for await (const block of readPieces([{ path: from, offset: 0, size }], signal)) {
        hasher.update(block);
        await writer.write(block);
        onBytes(block.byteLength);
        giveBack(block);
      }
      await writer.sync();
    } finally {
      await writer.close();
    }
    if (hexOf(hasher.finish()) !== sha256)
      throw new CodedError(
        'DIGEST_MISMATCH',
        `${from}: has changed while it was copied; run the command again`,
      );
    if (readBack && !(await isFile(partial, size, sha256, signal, onBytes))) {
      throw new CodedError(
        'BAD_VOLUME',
        `${path}: reads back otherwise than it was written; the medium is bad, use another`,
      );
    }
    await setMode(partial, mode);
    await rename(partial, path);
    await syncFolder(folder);
    return true;
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw diskError(error, path);
  }
}

/**
 * Names of the executables for what is carried.
 * @returns undefined when images are carried for every platform that they have
 */
export function executablesFor(items: readonly LockedItem[]): readonly string[] | undefined {
  const names = new Set<string>();
  for (const { kind, platforms } of items) {
    if (kind !== 'image') continue;
    if (platforms === undefined) return undefined;
    for (const platform of platforms) {
      const [os, architecture] = platform.split('/');
      names.add(`omni-airgap-${os}-${architecture}`);
    }
  }
  return names.size === 0 ? undefined : [...names].sort();
}

export function programBytes(program: Program | undefined): number {
  return (program?.executables ?? []).reduce((sum, { size }) => sum + size, 0);
}

async function readSums(folder: string): Promise<ReadonlyMap<string, string>> {
  const bytes = await readSmallFile(join(folder, 'SHA256SUMS'), maxTextBytes);
  if (bytes === undefined)
    throw new CodedError(
      'NO_INPUT',
      `${flag} ${folder}: no release here (no SHA256SUMS); ./scripts/release DIR makes one`,
    );
  const lines = Buffer.from(bytes).toString('latin1').split('\n');
  return new Map(
    lines.flatMap((line) => {
      const [, sha256, name] = sumLine.exec(line.trimEnd()) ?? [];
      return sha256 === undefined || name === undefined ? [] : [[name, sha256] as const];
    }),
  );
}

function sumOf(sums: ReadonlyMap<string, string>, folder: string, name: string): string {
  const sum = sums.get(name);
  if (sum !== undefined) return sum;
  throw new CodedError(
    'NO_INPUT',
    `${flag} ${folder}: its SHA256SUMS has no ${printable(name)}; make a new release`,
  );
}

async function sizeOf(path: string): Promise<number> {
  const info = await lstat(path).catch(() => undefined);
  if (info?.isFile() === true) return info.size;
  throw new CodedError('NO_INPUT', `${flag}: ${path} is missing or is not a regular file`);
}

function changed(path: string): CodedError {
  return new CodedError(
    'DIGEST_MISMATCH',
    `${path}: is not what the SHA256SUMS of the release says; make the release again`,
  );
}
