/**
 * What the files of an Image Factory begin with. They have no digest upstream, so whoever fetches one first looks at it:
 * a web page in place of a kernel must not be pinned. What a file is, is told by its content and never by its name:
 * `initramfs-amd64.xz` is zstd since Talos 1.8, and arm64 kernels have been plain, gzip and EFI zboot images.
 *
 * A format that is not known here is accepted, since a later Talos may use it, unless it reads as text.
 * Sources: siderolabs/talos ad8823176 pkg/machinery/platforms/platforms.go (suffixes of disk images), pkg/imager/out.go;
 * siderolabs/image-factory 26b95cacb internal/profile/profile.go; ECMA-119 8.4 (ISO 9660); Linux
 * Documentation/arch/x86/boot.rst, arch/arm64/booting.rst, driver-api/early-userspace/buffer-format.rst; RFC 1952 (gzip),
 * RFC 8878 (zstd), the .xz file format 1.2.0; QEMU docs/interop/qcow2.rst; UEFI 2.10 5.2 (MBR, GPT); POSIX pax (ustar);
 * PE/COFF; ELF; Mach-O loader.h, fat.h; WHATWG MIME Sniffing 7.2 (binary or text).
 */
import { isTalosctlName } from './factory.ts';
import { parseMediaName } from './media.ts';

/** Bytes of a file that are looked at: to the end of the mark of an ISO. */
export const firstBytes = 32_774;

interface Mark {
  readonly at: number;
  readonly hex: string;
}

const mark = (hex: string, at = 0): Mark => ({ at, hex: hex.replaceAll(' ', '') });
const ascii = (text: string, at = 0): Mark => mark(Buffer.from(text, 'latin1').toString('hex'), at);

const xz = mark('fd 37 7a 58 5a 00');
const zstd = mark('28 b5 2f fd');
const gzip = mark('1f 8b');
/** DOS header, which begins every PE file, and kernels that firmware can start. */
const dos = ascii('MZ');
const tar = ascii('ustar', 257);
const kernel = [dos, gzip, zstd, ascii('ARM\x64', 56), ascii('HdrS', 0x202)];
/** Raw images begin with a boot sector; fixed VHDs are raw images with a footer, dynamic ones begin with a copy of it. */
const disk = [
  xz,
  zstd,
  gzip,
  tar,
  ascii('QFI\xfb'),
  mark('55 aa', 510),
  ascii('EFI PART', 512),
  ascii('conectix'),
];
const machO = ['cf fa ed fe', 'ce fa ed fe', 'fe ed fa cf', 'fe ed fa ce', 'ca fe ba be', 'ca fe ba bf'];

interface Rule {
  readonly what: string;
  readonly marks: readonly Mark[];
  /** Bytes that no such file is smaller than. */
  readonly least: number;
}

/** A real kernel has millions of bytes, a block page a few thousand; nothing that boots is below this. */
const least = 4096;
const rules = {
  kernel: { what: 'a kernel', marks: kernel, least },
  initramfs: { what: 'an initramfs', marks: [xz, zstd, gzip, ascii('0707')], least },
  uki: { what: 'a UKI', marks: [dos], least },
  iso: { what: 'an ISO image', marks: [ascii('CD001', 32_769)], least: firstBytes },
  installer: { what: 'an installer archive', marks: [tar, gzip], least },
  disk: { what: 'a disk image', marks: disk, least },
  talosctl: { what: 'a program', marks: [mark('7f 45 4c 46'), dos, ...machO.map((hex) => mark(hex))], least },
} as const satisfies Record<string, Rule>;

/**
 * Why a file cannot be what its name says; undefined when nothing speaks against it.
 * @param name of a boot asset, `metal-amd64.iso`, or of a talosctl binary
 * @param size bytes of the whole file
 * @param head its first 32,774 bytes, or all of it when it is shorter
 * @returns such as `it is a web page`, to follow the name of the file
 * @throws BAD_MEDIA_NAME
 */
export function faultOfFile(name: string, size: number, head: Uint8Array): string | undefined {
  const kind = isTalosctlName(name) ? 'talosctl' : parseMediaName(name).kind;
  if (kind === 'cmdline') return faultOfCommandLine(size, head);
  const { what, marks, least } = rules[kind];
  const isKnown = marks.some((one) => isAt(head, one));
  if (!isKnown && isMarkup(head)) return `it is a web page and not ${what}`;
  if (size < least) return `it has ${size} bytes, and ${what} has at least ${least}`;
  return isKnown || !isText(head) ? undefined : `it is text and not ${what}`;
}

/** One line of arguments such as `talos.platform=metal console=tty0`. */
function faultOfCommandLine(size: number, head: Uint8Array): string | undefined {
  if (isMarkup(head)) return 'it is a web page and not a kernel command line';
  if (size > head.byteLength || size > firstBytes)
    return `it has ${size} bytes; no kernel command line is that long`;
  const line = Buffer.from(head)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f\ufffd]/.test(line)) return 'it is not one line of text';
  return /(?:^| )[^ =<>]+=/.test(line)
    ? undefined
    : 'it holds no kernel argument such as talos.platform=metal';
}

function isAt(head: Uint8Array, { at, hex }: Mark): boolean {
  const end = at + hex.length / 2;
  return head.byteLength >= end && Buffer.from(head.subarray(at, end)).toString('hex') === hex;
}

const markup = /^\s*<(?:[!?a-z])/i;
/** Bytes that tell text from data. */
const lookedAt = 2048;

function isMarkup(head: Uint8Array): boolean {
  return markup.test(
    Buffer.from(head.subarray(0, 256))
      .toString('utf8')
      .replace(/^\ufeff/, ''),
  );
}

/** No byte that text does not have, or a mark of UTF-16. Source: WHATWG MIME Sniffing 7.2. */
function isText(head: Uint8Array): boolean {
  const [first, second] = head;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  return head
    .subarray(0, lookedAt)
    .every((byte) => byte > 0x1f || byte === 0x1b || (byte >= 0x09 && byte <= 0x0d && byte !== 0x0b));
}
