/**
 * Sends bytes of files with our own read loop: two buffers, one being read into while the other is on its way to
 * the client; both go back to a pool. Whoever reads slowly holds two buffers and nothing else. Measured: four
 * times the rate of createReadStream at its default.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { CodedError, diskError, Hasher, isCoded, type Piece } from '@omni-airgap/content';
import type { FileBody } from './message.ts';
import type { ByteRange } from './range.ts';

const largeBuffer = 1024 * 1024;
/** For answers beyond the pool's share, so that a thousand slow clients do not take gigabytes. */
const smallBuffer = 64 * 1024;
/** Large buffers in use at most: 64 MiB. */
const maxLarge = 64;
const pool: Buffer[] = [];
let largeInUse = 0;

function take(wanted: number): Buffer {
  if (wanted <= smallBuffer || largeInUse >= maxLarge) {
    return Buffer.allocUnsafeSlow(Math.max(1, Math.min(wanted, smallBuffer)));
  }
  largeInUse++;
  return pool.pop() ?? Buffer.allocUnsafeSlow(largeBuffer);
}

function give(buffer: Buffer): void {
  if (buffer.byteLength !== largeBuffer) return;
  largeInUse--;
  pool.push(buffer);
}

/** The part of the pieces that a range covers. */
function cut(pieces: readonly Piece[], { start, end }: ByteRange): readonly Piece[] {
  const result: Piece[] = [];
  let at = 0;
  for (const piece of pieces) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end + 1 - at, piece.size);
    if (from < to) result.push({ path: piece.path, offset: piece.offset + from, size: to - from });
    at += piece.size;
  }
  return result;
}

/**
 * @param begin writes status and headers; called when the first file is open, so that a missing one is still an error answer
 * @throws DISK, MISSING_CONTENT before `begin` when the file cannot be opened or is known to be damaged; after it MISSING_CONTENT, DIGEST_MISMATCH, DISK:
 *   the caller must then cut the connection, since the answer is not whole
 */
export async function sendFile(
  response: ServerResponse,
  body: FileBody,
  range: ByteRange | 'whole',
  begin: () => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    await sendPieces(response, body, range, begin, signal);
  } catch (error) {
    if (isCoded(error, 'DIGEST_MISMATCH', 'MISSING_CONTENT', 'DISK')) body.failed(error);
    throw error;
  }
}

async function sendPieces(
  response: ServerResponse,
  body: FileBody,
  range: ByteRange | 'whole',
  begin: () => void,
  signal: AbortSignal,
): Promise<void> {
  const span = range === 'whole' ? { start: 0, end: body.size - 1 } : range;
  const pieces = cut(body.pieces, span);
  const state = await body.begin(range);
  const hasher = range === 'whole' && state === 'unknown' ? new Hasher() : undefined;
  let left = span.end - span.start + 1;
  const buffers = [take(left), take(left)] as const;
  let turn: 0 | 1 = 0;
  let writing: Promise<void> | undefined;
  let file: FileHandle | undefined;
  try {
    for (const [i, piece] of pieces.entries()) {
      file = await openPiece(piece);
      if (i === 0) begin();
      for (let at = 0; at < piece.size; ) {
        const block = await readBlock(file, buffers[turn], piece, at);
        at += block.byteLength;
        left -= block.byteLength;
        if (hasher !== undefined) {
          hasher.update(block);
          if (left === 0) finishCheck(hasher, body);
        }
        await writing;
        signal.throwIfAborted();
        writing = write(response, block, signal);
        writing.catch(() => {});
        turn = turn === 0 ? 1 : 0;
      }
      await file.close();
      file = undefined;
    }
    if (pieces.length === 0) begin();
    await writing;
    if (left !== 0) throw new CodedError('MISSING_CONTENT', `${left} bytes of the answer are nowhere`);
  } finally {
    await writing?.catch(() => {});
    await file?.close().catch(() => {});
    for (const buffer of buffers) give(buffer);
  }
}

function finishCheck(hasher: Hasher, body: FileBody): void {
  const digest = hasher.finish();
  if (digest !== body.digest) {
    throw new CodedError('DIGEST_MISMATCH', `${body.digest}: the bytes on disk have ${digest}`);
  }
  body.passed();
}

async function openPiece(piece: Piece): Promise<FileHandle> {
  try {
    return await open(piece.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    throw diskError(cause, piece.path);
  }
}

async function readBlock(file: FileHandle, buffer: Buffer, piece: Piece, at: number): Promise<Buffer> {
  const size = Math.min(buffer.byteLength, piece.size - at);
  for (let done = 0; done < size; ) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await file.read(buffer, done, size - done, piece.offset + at + done));
    } catch (cause) {
      throw diskError(cause, piece.path);
    }
    if (bytesRead === 0) {
      throw new CodedError('MISSING_CONTENT', `${piece.path}: ends at byte ${piece.offset + at + done}`);
    }
    done += bytesRead;
  }
  return buffer.subarray(0, size);
}

/** Resolves when the socket has taken the block and its buffer is free again. */
function write(response: ServerResponse, block: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(signal.reason);
    signal.addEventListener('abort', gone, { once: true });
    response.write(block, (error) => {
      signal.removeEventListener('abort', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}
