/**
 * Volumes made to mislead a reader of tar archives, T1 to T11 of the threats and F31: each is a good volume with
 * something changed, as somebody would do who can write to the medium and cannot sign. Checksums of headers are right
 * unless they are what is wrong.
 */
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { tarBlock, tarHeader, trailerSize } from '../volumes/tar-header.ts';
import type { VolumePart } from '../volumes/volume-map.ts';

export interface HostileVolume {
  /** Title of its test, such as `T1 tar.name.dotdot`. */
  readonly threat: string;
  readonly what: string;
  /** As long as the volume, unless the length is what is wrong. */
  readonly bytes: Buffer;
}

/** Every `threat`, for tests that have one for each. */
export const hostileThreats: readonly string[] = [
  'T1 tar.name.dotdot',
  'T2 tar.type.link',
  'T3 tar.type.other',
  'T4 tar.pax.any',
  'T5 tar.size.encoding',
  'T6 tar.header.checksum',
  'T7 tar.name.prefix',
  'T8 tar.name.dup, tar.name.casefold',
  'T9 tar.trailer',
  'T10 tar.truncate.sweep',
  'T11 tar.magic.compressed',
];

type Change = (header: Buffer) => void;
type Named = readonly [what: string, bytes: Buffer];

/** @param parts what the volume consists of */
export function hostileVolumes(volume: Buffer, parts: Iterable<VolumePart>): readonly HostileVolume[] {
  const places = placesIn(parts);
  const [first, second] = places.files;
  if (first === undefined || second === undefined) throw new Error('two members with content are needed');
  const withHeader = (change: Change, isSummed = true): Buffer => {
    const changed = Buffer.from(volume);
    const header = changed.subarray(first, first + tarBlock);
    change(header);
    if (isSummed) writeSum(header, sumOf(header));
    return changed;
  };
  const inFront = (...members: readonly Buffer[]): Buffer =>
    Buffer.concat([volume.subarray(0, first), ...members, volume.subarray(first)]);
  const own = volume.toString('latin1', first, first + 100).replace(/\0.*/, '');
  const size = volume.toString('latin1', first + 124, first + 135);

  const kinds: Readonly<Record<string, readonly Named[]>> = {
    'T1 tar.name.dotdot': climbing.map((name) => [JSON.stringify(name), withHeader(named(name))]),
    'T2 tar.type.link': [...'12'].flatMap((type) =>
      [own, ...targets].map(
        (target): Named => [
          `type ${type} to ${JSON.stringify(target)}`,
          withHeader((header) => {
            header.write(type, 156, 'latin1');
            header.write(target, 157, 100, 'latin1');
          }),
        ],
      ),
    ),
    'T3 tar.type.other': types.map((type) => [
      `type ${JSON.stringify(type)}`,
      withHeader((header) => header.write(type, 156, 'latin1')),
    ]),
    'T4 tar.pax.any': [
      ...[...'xgLKX'].map(
        (type): Named => [`type ${type} in front`, inFront(member('pax', type, '19 path=../../evil\n'))],
      ),
      ['CVE-2026-53655', inFront(member('x', 'x', '13 size=2048\n'), ...smuggling)],
      ['CVE-2026-53655, its control', inFront(...smuggling)],
    ],
    'T5 tar.size.encoding': sizesLike(size).map(([what, field]) => [
      what,
      withHeader((header) => field.copy(header, 124)),
    ]),
    'T6 tar.header.checksum': [
      ['wrong', withHeader((header) => writeSum(header, sumOf(header) + 1), false)],
      ['none', withHeader((header) => header.fill(0, 148, 156), false)],
      [
        'signed',
        withHeader((header) => {
          header[345] = 0xe9;
          writeSum(header, sumOf(header, true));
        }, false),
      ],
      [
        'right, written otherwise',
        withHeader((header) => header.write(` ${sumOf(header).toString(8)} \0`, 148, 'latin1'), false),
      ],
    ],
    'T7 tar.name.prefix': [
      ...['..', 'a', '/', 'blobs\0x', 'a/../..'].map(
        (prefix): Named => [
          JSON.stringify(prefix),
          withHeader((header) => header.write(prefix, 345, 'latin1')),
        ],
      ),
      [
        'the same path, cut in two',
        withHeader((header) => {
          named(own.slice(own.indexOf('/') + 1))(header);
          header.write(own.slice(0, Math.max(1, own.indexOf('/'))), 345, 'latin1');
        }),
      ],
    ],
    'T8 tar.name.dup, tar.name.casefold': [
      ['the name of another', withHeader((header) => volume.copy(header, 0, second, second + 100))],
      ['in capitals', withHeader(named(own.toUpperCase()))],
      ['a letter that Unicode folds to the right one', withHeader(named(own.replace(/[a-z]/, fullWidth)))],
    ],
    'T9 tar.trailer': [
      ['a member in the end', replaced(volume, volume.byteLength - tarBlock, member('evil', '0', ''))],
      ['padding that is not zero', replaced(volume, places.padding, Buffer.from([1]))],
      ['zeros after the end', Buffer.concat([volume, Buffer.alloc(trailerSize)])],
      ['a member after the end', Buffer.concat([volume, member('evil', '0', 'x')])],
      ['no end', Buffer.from(volume.subarray(0, -trailerSize))],
    ],
    'T10 tar.truncate.sweep': [...new Set(places.all.flatMap((at) => [at - 1, at, at + 1]))]
      .filter((at) => at >= 0 && at < volume.byteLength)
      .map((at) => [`cut at ${at}`, Buffer.from(volume.subarray(0, at))]),
    'T11 tar.magic.compressed': [
      ['gzip', gzipSync(Buffer.alloc(volume.byteLength * 20))],
      ['zstd', zstdCompressSync(Buffer.alloc(volume.byteLength * 20))],
    ],
  };
  return Object.entries(kinds).flatMap(([threat, list]) =>
    list.map(([what, bytes]) => {
      const isAnyLength = /^T(9|10) /.test(threat);
      return { threat, what, bytes: isAnyLength ? bytes : fitted(bytes, volume.byteLength) };
    }),
  );
}

const climbing: readonly string[] = [
  ...['', '.', '..', '../x', 'a/../../x', '/abs', 'a//b', './a', 'a/./b', 'blobs/', 'blobs/sha256/x/'],
  ...['C:\\x', 'C:x', '\\\\host\\x', 'blobs\\x', '..\\x', 'index.json\0../x', 'a\nb', '\u202eb'],
];

/** Besides the member itself. */
const targets: readonly string[] = [
  ...['', '/etc/passwd', '../../x', 'index.json', '.', 'C:../x', '\\\\host\\x', '/proc/self/fd/0'],
  `${'../'.repeat(33)}x`,
];

/** All but a file; a folder, since there is data. Those of GNU tar, Solaris and star among them. */
const types: readonly string[] = [
  '\0',
  '\xff',
  ...'123456789',
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
  ...'xg',
  ' ',
];

const smuggling: readonly Buffer[] = [
  member('././@LongLink', 'L', `${'a'.repeat(100)}\0`),
  member('file_a', '0', Buffer.concat([member('file_b', '0', 'smuggled'), Buffer.alloc(tarBlock)])),
];

/** @param octal the eleven digits that are right */
function sizesLike(octal: string): readonly Named[] {
  const value = BigInt(`0o${octal}`);
  const binary = (first: number, rest: bigint): Buffer => {
    const field = Buffer.alloc(12);
    field[0] = first;
    field.writeBigUInt64BE(rest, 4);
    return field;
  };
  const short = octal.replace(/^0+/, '');
  return [
    ['spaces in front', Buffer.from(`${short.padStart(11)} `)],
    ['spaces behind', Buffer.from(`${short} `.padEnd(12, '\0'))],
    ['not terminated', Buffer.from(`0${octal}`)],
    ['terminated by a space', Buffer.from(`${octal} `)],
    ['not octal', Buffer.from('00000189999\0')],
    ['negative', Buffer.from(`-${octal.slice(1)}\0`)],
    ['nothing', Buffer.alloc(12)],
    ['base-256 where octal does', binary(0x80, value)],
    ['base-256 and negative', binary(0xff, 2n ** 64n - value)],
    ['base-256 beyond what a number holds', binary(0x80, 2n ** 64n - 1n)],
    ['one byte more', Buffer.from(`${(value + 1n).toString(8).padStart(11, '0')}\0`)],
    ['one byte less', Buffer.from(`${(value - 1n).toString(8).padStart(11, '0')}\0`)],
  ];
}

interface Places {
  /** Of the headers of files that have content. */
  readonly files: readonly number[];
  /** Of the first byte of padding. */
  readonly padding: number;
  /** Where parts begin and end. */
  readonly all: readonly number[];
}

function placesIn(parts: Iterable<VolumePart>): Places {
  const files: number[] = [];
  const all = [0];
  let padding: number | undefined;
  let header: number | undefined;
  let at = 0;
  for (const part of parts) {
    const of = part.kind === 'fixed' ? part.of : 'content';
    const isHeader = of.startsWith('header');
    if (of.startsWith('padding')) padding ??= at;
    else if (!isHeader && header !== undefined) files.push(header);
    header = isHeader ? at : undefined;
    at += part.kind === 'fixed' ? part.bytes.byteLength : part.size;
    all.push(at);
  }
  if (padding === undefined) throw new Error('a member with padding is needed');
  return { files, padding, all };
}

function fullWidth(letter: string): string {
  return String.fromCharCode(letter.charCodeAt(0) + 0xfee0);
}

function named(name: string): Change {
  return (header) => {
    header.fill(0, 0, 100);
    header.write(name, 0, 100, 'utf8');
  };
}

/** A member that is not ours: header and data, padded. */
function member(name: string, type: string, data: string | Buffer): Buffer {
  const bytes = Buffer.from(data);
  const header = tarHeader({ name: 'placeholder', size: bytes.byteLength });
  named(name)(header);
  header.write(type, 156, 'latin1');
  writeSum(header, sumOf(header));
  return Buffer.concat([header, bytes, Buffer.alloc((tarBlock - (bytes.byteLength % tarBlock)) % tarBlock)]);
}

function sumOf(header: Buffer, signed = false): number {
  const copy = Buffer.from(header).fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of copy) sum += signed && byte > 127 ? byte - 256 : byte;
  return sum;
}

function writeSum(header: Buffer, sum: number): void {
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

function replaced(volume: Buffer, at: number, bytes: Buffer): Buffer {
  const changed = Buffer.from(volume);
  bytes.copy(changed, at);
  return changed;
}

function fitted(bytes: Buffer, size: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, size - bytes.byteLength))]).subarray(0, size);
}
