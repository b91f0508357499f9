/**
 * A small ISO 9660 image: one folder, some files; any operating system and xorriso read it.
 * Source: ECMA-119, 4th edition.
 */

export interface IsoFile {
  /** Eight characters, a dot, three characters: `VMLINUZ.BIN`. */
  readonly name: string;
  readonly size: number;
  readonly chunks: () => Iterable<Uint8Array>;
}

const sector = 2048;
/** Where the root folder is: after the system area, two descriptors and two path tables. */
const rootAt = 20;

export function* iso(volume: string, files: readonly IsoFile[]): Generator<Uint8Array> {
  const root = Buffer.alloc(sector);
  let at = 0;
  const add = (record: Buffer): void => {
    at += record.copy(root, at);
  };
  add(record('\0', rootAt, sector, true));
  add(record('\x01', rootAt, sector, true));
  let next = rootAt + 1;
  for (const { name, size } of files) {
    add(record(`${name};1`, next, size, false));
    next += sectors(size);
  }
  yield Buffer.alloc(16 * sector);
  yield primaryDescriptor(volume, next);
  yield descriptor(255);
  yield pathTable(true);
  yield pathTable(false);
  yield root;
  for (const { size, chunks } of files) {
    yield* chunks();
    if (size % sector !== 0) yield Buffer.alloc(sector - (size % sector));
  }
}

function sectors(size: number): number {
  return Math.ceil(size / sector);
}

function descriptor(type: number): Buffer {
  const bytes = Buffer.alloc(sector);
  bytes.writeUInt8(type, 0);
  bytes.write('CD001', 1);
  bytes.writeUInt8(1, 6);
  return bytes;
}

function primaryDescriptor(volume: string, total: number): Buffer {
  const bytes = descriptor(1);
  bytes.fill(' ', 8, 72);
  bytes.write(volume, 40, 32);
  both32(bytes, 80, total);
  both16(bytes, 120, 1);
  both16(bytes, 124, 1);
  both16(bytes, 128, sector);
  both32(bytes, 132, 10);
  bytes.writeUInt32LE(18, 140);
  bytes.writeUInt32BE(19, 148);
  record('\0', rootAt, sector, true).copy(bytes, 156);
  bytes.fill(' ', 190, 813);
  for (const date of [813, 830, 847, 864]) bytes.write('2026080100000000', date);
  bytes.writeUInt8(1, 881);
  return bytes;
}

function pathTable(little: boolean): Buffer {
  const bytes = Buffer.alloc(sector);
  bytes.writeUInt8(1, 0);
  if (little) bytes.writeUInt32LE(rootAt, 2);
  else bytes.writeUInt32BE(rootAt, 2);
  if (little) bytes.writeUInt16LE(1, 6);
  else bytes.writeUInt16BE(1, 6);
  return bytes;
}

function record(name: string, at: number, size: number, folder: boolean): Buffer {
  const length = 33 + name.length + ((name.length + 1) % 2);
  const bytes = Buffer.alloc(length);
  bytes.writeUInt8(length, 0);
  both32(bytes, 2, at);
  both32(bytes, 10, size);
  bytes.set([126, 8, 1, 0, 0, 0, 0], 18);
  bytes.writeUInt8(folder ? 2 : 0, 25);
  both16(bytes, 28, 1);
  bytes.writeUInt8(name.length, 32);
  bytes.write(name, 33, 'latin1');
  return bytes;
}

function both16(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt16LE(value, at);
  bytes.writeUInt16BE(value, at + 2);
}

function both32(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value, at);
  bytes.writeUInt32BE(value, at + 4);
}
