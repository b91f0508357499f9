/** Tar streams for image layers: folders and files, all of one time, owned by root. Source: POSIX.1-1988 ustar. */

export interface TarFile {
  /** Relative path without a leading slash; folders on the way are added. */
  readonly path: string;
  readonly size: number;
  readonly mode?: number;
  readonly chunks: () => Iterable<Uint8Array>;
}

const block = 512;
const mtime = 1_754_000_000;

export function* tar(files: Iterable<TarFile>): Generator<Uint8Array> {
  const folders = new Set<string>();
  for (const { path, size, mode = 0o644, chunks } of files) {
    const parts = path.split('/');
    for (let i = 1; i < parts.length; i++) {
      const folder = `${parts.slice(0, i).join('/')}/`;
      if (!folders.has(folder)) yield header(folder, 0, 0o755, '5');
      folders.add(folder);
    }
    yield header(path, size, mode, '0');
    yield* chunks();
    if (size % block !== 0) yield Buffer.alloc(block - (size % block));
  }
  yield Buffer.alloc(2 * block);
}

function header(path: string, size: number, mode: number, type: string): Buffer {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;
  bytes.write(path, 0, 100, 'latin1');
  bytes.write(octal(mode, 8), 100);
  bytes.write(octal(0, 8), 108);
  bytes.write(octal(0, 8), 116);
  bytes.write(octal(size, 12), 124);
  bytes.write(octal(mtime, 12), 136);
  bytes.write('        ', 148);
  bytes.write(type, 156);
  bytes.write('ustar\x0000', 257);
  bytes.write('root', 265);
  bytes.write('root', 297);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}
