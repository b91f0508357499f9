/**
 * Files that an operator names, which need not be files: `/dev/null`, `/dev/stdout`, a named pipe, the `/dev/fd/63` of a
 * shell. They are read and written through, and never replaced. A regular file is replaced in one piece.
 */
import { isUtf8 } from 'node:buffer';
import { constants, read, type Stats, write } from 'node:fs';
import { lstat, open, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CodedError, isCoded, systemCodeOf } from '../base/errors.ts';
import { diskError } from './disk-error.ts';
import { makeFolders, tryFolder, writeFileAtomic, writeNewFile } from './files.ts';

const readFrom = promisify(read);
const writeTo = promisify(write);

/** Milliseconds between two looks at a pipe whose other end is not there yet, or has nothing to say. */
const pipePauseMs = 20;
const maxLinks = 32;

/**
 * What an input that the operator named holds; undefined when there is no such file. From a pipe, everything until its
 * other end is closed.
 * @param flag what names it, beginning messages: `--config`
 * @param max bytes
 * @throws CONFIG when it is larger, a folder, a socket or a block device; DISK
 */
export async function readInput(flag: string, path: string, max: number): Promise<Buffer | undefined> {
  const what = `${flag} ${path}`;
  try {
    const own = await ownDescriptor(path);
    if (own !== undefined) return await readWhole(own, await stat(path), what, max);
    // Without O_NONBLOCK a pipe without a writer would hold a thread, and with it the end of this process.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return await readWhole(handle.fd, await handle.stat(), what, max);
    } finally {
      await handle.close().catch(() => {});
    }
  } catch (error) {
    if (isCoded(error)) throw error;
    const code = systemCodeOf(error);
    if (code === 'ENOENT') return undefined;
    // What open(2) says of a socket.
    if (code === 'ENXIO') throw new CodedError('CONFIG', `${what}: is not a regular file`);
    throw diskError(error, what);
  }
}

/** As readInput, for text; see textBytes. @throws NO_INPUT when it does not exist; CONFIG, DISK */
export async function readNamedFile(flag: string, path: string, max: number): Promise<Buffer> {
  const bytes = await readInput(flag, path, max);
  if (bytes === undefined) throw new CodedError('NO_INPUT', `${flag} ${path}: no such file`);
  return textBytes(bytes, `${flag} ${path}`);
}

/**
 * Text that people or other programs hand us, as UTF-8 without a byte order mark. Editors on Windows put one in front, and
 * PowerShell writes UTF-16 with one.
 * @param what the file, beginning the message
 * @throws CONFIG for UTF-16 that is malformed, or that has no mark
 */
export function textBytes(bytes: Uint8Array, what: string): Buffer {
  const [a, b, c] = bytes;
  const encoding = a === 0xff && b === 0xfe ? 'utf-16le' : a === 0xfe && b === 0xff ? 'utf-16be' : undefined;
  const isMissingMark = bytes.byteLength > 1 && (a === 0) !== (b === 0);
  try {
    if (isMissingMark) throw new TypeError('no byte order mark');
    if (encoding !== undefined) return Buffer.from(new TextDecoder(encoding, { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CodedError('CONFIG', `${what}: is malformed UTF-16; save it as UTF-8`, { cause });
  }
  const start = a === 0xef && b === 0xbb && c === 0xbf ? 3 : 0;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, bytes.byteLength - start);
}

/**
 * textBytes as a string, for files that a person writes, where a message shows the place.
 * @throws CONFIG with the line for anything but UTF-8; as textBytes
 */
export function textOf(bytes: Uint8Array, path: string): string {
  const text = textBytes(bytes, path);
  if (isUtf8(text)) return text.toString('utf8');
  const lines = text.toString('latin1').split('\n');
  const line = lines.findIndex((one) => !isUtf8(Buffer.from(one, 'latin1'))) + 1;
  throw new CodedError('CONFIG', `${path}:${line}: is not valid UTF-8; save the file as UTF-8`);
}

/**
 * Looks whether an output that the operator named can be written, before the work that it is for: where it is a regular
 * file, by a small file that is written beside it and removed.
 * @returns the path of the regular file that will be written; undefined for a pipe or device
 * @throws USAGE for a folder, a socket, a block device or a path below a file; DISK
 */
export async function checkOutput(flag: string, path: string): Promise<string | undefined> {
  const place = await placeOf(flag, path);
  if (place.kind !== 'file') return undefined;
  await requireWritable(flag, path, dirname(place.path), basename(place.path));
  return place.path;
}

/**
 * As checkOutput, for a folder that files are written to; it need not exist yet.
 * @throws USAGE where something else than a folder is in its place, DISK
 */
export async function checkOutputFolder(flag: string, path: string): Promise<void> {
  const info = await lstat(path).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    if (systemCodeOf(error) === 'ENOTDIR')
      throw new CodedError(
        'USAGE',
        `${flag} ${path}: a file stands where a folder must be; specify another path`,
      );
    throw diskError(error, `${flag} ${path}`);
  });
  if (info !== undefined && !info.isDirectory())
    throw new CodedError('USAGE', `${flag} ${path}: is not a folder; specify another path`);
  await requireWritable(flag, path, path, 'omni-airgap');
}

async function requireWritable(flag: string, path: string, folder: string, file: string): Promise<void> {
  try {
    await tryFolder(folder, file);
  } catch (error) {
    // That its device may have failed is not worth a thought where nothing was written yet.
    const isReadOnly = systemCodeOf(error) === 'EROFS';
    const what = `${flag} ${path}`;
    const why = isReadOnly ? `${what}: the file system is read-only` : diskError(error, what).message;
    const or = isReadOnly ? ';' : ', or';
    throw new CodedError('DISK', `${why}${or} specify another path with ${flag}`, { cause: error });
  }
}

/**
 * Writes an output that the operator named. A regular file is replaced at once and whole, that of a link where it is, and
 * its folder is made; a pipe or a character device is written to.
 * @param options.isNew a regular file that exists stays as it is, and the folder must exist
 * @returns false when it does
 * @throws as checkOutput; NO_INPUT for a new file without its folder
 */
export async function writeOutput(
  flag: string,
  path: string,
  data: string | Uint8Array,
  options: { readonly isNew?: boolean; readonly signal?: AbortSignal | undefined } = {},
): Promise<boolean> {
  const place = await placeOf(flag, path);
  const bytes = Buffer.from(data);
  try {
    if (place.kind === 'file') {
      if (options.isNew === true) return await writeNewFile(place.path, bytes);
      await makeFolders(dirname(place.path));
      await writeFileAtomic(place.path, bytes);
    } else if (place.kind === 'descriptor') await writeWhole(place.fd, bytes);
    else {
      const handle = await openThrough(path, options.signal);
      try {
        await writeWhole(handle.fd, bytes);
      } finally {
        await handle.close().catch(() => {});
      }
    }
    return true;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    throw diskError(error, `${flag} ${path}`);
  }
}

type Place =
  | { readonly kind: 'file'; readonly path: string }
  /** A pipe or device. */
  | { readonly kind: 'through' }
  /** What this process has open already, such as its standard output. */
  | { readonly kind: 'descriptor'; readonly fd: number };

async function placeOf(flag: string, path: string): Promise<Place> {
  const what = `${flag} ${path}`;
  try {
    const fd = await ownDescriptor(path);
    if (fd !== undefined) return { kind: 'descriptor', fd };
    const info = await stat(path).catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (info === undefined || info.isFile()) {
      return { kind: 'file', path: await targetOf(path) };
    }
    if (info.isFIFO() || info.isCharacterDevice()) return { kind: 'through' };
    throw new CodedError('USAGE', `${what}: ${kindOf(info)}; specify a file`);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOTDIR')
      throw new CodedError('USAGE', `${what}: a file stands where a folder must be; specify another path`);
    throw diskError(error, what);
  }
}

function kindOf(info: Stats): string {
  if (info.isDirectory()) return 'is a folder';
  return info.isBlockDevice() ? 'is a block device' : 'is not a regular file';
}

/** Where the last of its links leads, also when nothing is there yet. */
async function targetOf(path: string): Promise<string> {
  let at = path;
  for (let i = 0; i < maxLinks; i++) {
    const info = await lstat(at).catch(() => undefined);
    if (info?.isSymbolicLink() !== true) return at;
    at = resolve(dirname(at), await readlink(at));
  }
  throw Object.assign(new Error('too many links'), { code: 'ELOOP' });
}

/** The descriptor that `/dev/stdout`, `/dev/fd/3` or `/proc/self/fd/3` stands for; undefined for any other path. */
async function ownDescriptor(path: string): Promise<number | undefined> {
  let at = resolve(path);
  for (let i = 0; i < maxLinks; i++) {
    const folder = await realpath(dirname(at)).catch(() => undefined);
    if (folder === undefined) return undefined;
    const number = /^[0-9]+$/.exec(at.slice(at.lastIndexOf('/') + 1))?.[0];
    if (folder === `/proc/${process.pid}/fd` && number !== undefined) return Number(number);
    const next = await readlink(at).catch(() => undefined);
    if (next === undefined) return undefined;
    at = resolve(dirname(at), next);
  }
  return undefined;
}

/** Waits for somebody at the other end of a pipe, as any program does that writes to one. */
async function openThrough(path: string, signal: AbortSignal | undefined) {
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENXIO') throw error;
      await sleep(pipePauseMs);
    }
  }
}

async function writeWhole(fd: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    try {
      done += (await writeTo(fd, bytes, done, bytes.byteLength - done, null)).bytesWritten;
    } catch (error) {
      if (systemCodeOf(error) !== 'EAGAIN') throw error;
      await sleep(pipePauseMs);
    }
  }
}

async function readWhole(fd: number, info: Stats, what: string, max: number): Promise<Buffer> {
  if (info.isDirectory() || info.isBlockDevice())
    throw new CodedError('CONFIG', `${what}: ${kindOf(info)}; specify a file`);
  const buffer = Buffer.alloc(Math.min(max, info.isFile() ? info.size : max) + 1);
  let size = 0;
  let hasWriter = !info.isFIFO();
  for (;;) {
    if (size > max) throw new CodedError('CONFIG', `${what}: more than the ${max} bytes it may have`);
    if (size === buffer.byteLength) return buffer.subarray(0, size);
    try {
      const { bytesRead } = await readFrom(fd, buffer, size, buffer.byteLength - size, null);
      size += bytesRead;
      if (bytesRead > 0) hasWriter = true;
      else if (hasWriter) return buffer.subarray(0, size);
      else await sleep(pipePauseMs);
    } catch (error) {
      if (systemCodeOf(error) !== 'EAGAIN') throw error;
      hasWriter = true;
      await sleep(pipePauseMs);
    }
  }
}
