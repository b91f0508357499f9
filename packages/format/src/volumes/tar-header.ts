/**
 * The tar headers of our volumes: ustar, files and folders only, one canonical form. A reader makes the header
 * that must be there and compares all 512 bytes, so nothing is ever parsed out of a volume.
 * Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (base-256 sizes).
 */
import { CodedError } from '@omni-airgap/oci/base';

export const tarBlock = 512;
/** Two zero blocks end an archive. */
export const trailerSize: number = 2 * tarBlock;
/** From here on eleven octal digits are too few, and the size is written as GNU tar does. */
const octalLimit = 8 * 1024 ** 3;
const namePattern = /^[a-z0-9][a-z0-9._/-]{0,98}$/;

export interface TarMember {
  /** Path inside the archive; a folder ends with a slash. */
  readonly name: string;
  /** Bytes of data; 0 for a folder. */
  readonly size: number;
}

/** Zero bytes that follow `size` bytes of data. */
export function paddingOf(size: number): number {
  return (tarBlock - (size % tarBlock)) % tarBlock;
}

/** Bytes a member takes: header, data, padding. */
export function memberSize(size: number): number {
  return tarBlock + size + paddingOf(size);
}

/** The header of a member. @throws INTERNAL for a name that this format does not use */
export function tarHeader(member: TarMember): Buffer {
  const { name, size } = member;
  if (!namePattern.test(name)) throw new CodedError('INTERNAL', `not a member name: ${name}`);
  const folder = name.endsWith('/');
  const header = Buffer.alloc(tarBlock);
  const octal = (value: number, at: number, digits: number): void => {
    header.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  };
  header.write(name, 0, 'latin1');
  octal(folder ? 0o755 : 0o644, 100, 7);
  octal(0, 108, 7); // owner
  octal(0, 116, 7); // group
  if (size < octalLimit) octal(size, 124, 11);
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  }
  octal(0, 136, 11); // time: none, so that the same content gives the same bytes
  header.fill(0x20, 148, 156); // the checksum counts its own field as spaces
  header.write(folder ? '5' : '0', 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
