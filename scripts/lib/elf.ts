/**
 * What an ELF executable asks of the system that starts it, read without binutils and for any machine.
 * Source: System V ABI, "Object Files" and "Dynamic Linking"; Linux Standard Base 5.0 "Symbol Versioning".
 */
import { readFileSync } from 'node:fs';

export interface ElfNeeds {
  /** The processor, in the word that Node.js has for it; `other` for any that no release is made for. */
  readonly machine: 'x64' | 'arm64' | 'other';
  /** Path of the dynamic loader. */
  readonly interpreter: string;
  /** Names of the shared libraries, in the order of the file: `libstdc++.so.6`. */
  readonly libraries: readonly string[];
  /** Newest version of each set of symbols, sorted: `GLIBC_2.28`. */
  readonly versions: readonly string[];
}

const machines: Readonly<Record<number, ElfNeeds['machine']>> = { 62: 'x64', 183: 'arm64' };
const segment = { load: 1, dynamic: 2, interpreter: 3 };
const tag = { needed: 1n, strings: 5n, versions: 0x6ffffffen, versionCount: 0x6fffffffn };

/** @throws Error for a file that is no 64-bit little-endian ELF executable with a dynamic section */
export function elfNeeds(path: string): ElfNeeds {
  const file = readFileSync(path);
  if (file.toString('latin1', 0, 6) !== '\x7fELF\x02\x01')
    throw new Error(`${path} is not a 64-bit ELF file`);
  const segments = programHeaders(file);
  const interpreter = segments.find(({ type }) => type === segment.interpreter);
  const dynamic = segments.find(({ type }) => type === segment.dynamic);
  if (interpreter === undefined || dynamic === undefined)
    throw new Error(`${path} is not dynamically linked`);

  /** Offset in the file of an address in memory. */
  const offsetOf = (address: bigint): number => {
    const home = segments.find(
      ({ type, address: start, size }) =>
        type === segment.load && address >= BigInt(start) && address < BigInt(start + size),
    );
    if (home === undefined) throw new Error(`${path}: no segment holds address 0x${address.toString(16)}`);
    return home.offset + Number(address - BigInt(home.address));
  };
  const entries = dynamicEntries(file, dynamic.offset, dynamic.size);
  const dynamicValue = (wanted: bigint): bigint => entries.find(([name]) => name === wanted)?.[1] ?? 0n;
  const strings = offsetOf(dynamicValue(tag.strings));
  const text = (offset: number): string => stringAt(file, strings + offset);

  const needed = entries.filter(([name]) => name === tag.needed).map(([, offset]) => text(Number(offset)));
  const count = Number(dynamicValue(tag.versionCount));
  const versions = count === 0 ? [] : versionNames(file, offsetOf(dynamicValue(tag.versions)), count, text);
  return {
    machine: machines[file.readUInt16LE(18)] ?? 'other',
    interpreter: stringAt(file, interpreter.offset),
    libraries: needed,
    versions: newestOfEach(versions),
  };
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  /** Bytes in the file. */
  readonly size: number;
}

function programHeaders(file: Buffer): readonly ProgramHeader[] {
  const table = Number(file.readBigUInt64LE(32));
  const each = file.readUInt16LE(54);
  return Array.from({ length: file.readUInt16LE(56) }, (_, i) => {
    const at = table + i * each;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
}

function dynamicEntries(file: Buffer, offset: number, size: number): readonly [bigint, bigint][] {
  return Array.from({ length: size / 16 }, (_, i) => [
    file.readBigUInt64LE(offset + i * 16),
    file.readBigUInt64LE(offset + i * 16 + 8),
  ]);
}

/** Two linked lists: the libraries, and for each the versions of its symbols. */
function versionNames(
  file: Buffer,
  start: number,
  count: number,
  text: (offset: number) => string,
): string[] {
  const names: string[] = [];
  let library = start;
  for (let i = 0; i < count; i++) {
    let version = library + file.readUInt32LE(library + 8);
    for (let j = 0; j < file.readUInt16LE(library + 2); j++) {
      names.push(text(file.readUInt32LE(version + 8)));
      version += file.readUInt32LE(version + 12);
    }
    library += file.readUInt32LE(library + 12);
  }
  return names;
}

function newestOfEach(versions: readonly string[]): readonly string[] {
  const newest = new Map<string, string>();
  for (const version of versions) {
    const [set = ''] = version.split('_');
    const other = newest.get(set);
    if (other === undefined || compareVersions(version, other) > 0) newest.set(set, version);
  }
  return [...newest.values()].sort();
}

/** Above 0 when `a` is the newer of two versions such as `GLIBC_2.28`. */
export function compareVersions(a: string, b: string): number {
  const numbers = (version: string): number[] => version.replace(/^.*_/, '').split('.').map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function stringAt(file: Buffer, offset: number): string {
  return file.toString('utf8', offset, file.indexOf(0, offset));
}
