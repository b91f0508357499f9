/** First bytes of what the Image Factory builds, as Talos 1.9, 1.11 and 1.13 have them, and of what it does not (F10, C3). */
import { describe, expect, test } from 'vitest';
import { faultOfFile, firstBytes } from '../src/first-bytes.ts';

const mib = 1024 * 1024;
/** A file of zeros with bytes at offsets. */
const file = (...parts: readonly (readonly [at: number, bytes: string | readonly number[]])[]): Buffer => {
  const head = Buffer.alloc(firstBytes);
  for (const [at, bytes] of parts)
    (typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)).copy(head, at);
  return head;
};

const xz = file([0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46]]);
const zstd = file([0, [0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x88]]);
const gzip = file([0, [0x1f, 0x8b, 0x08, 0x00, 0, 0, 0, 0, 0x02, 0xff]]);
/** bzImage with the EFI stub: DOS header, boot sector mark, setup header. */
const bzImage = file([0, 'MZ\xea\x07\x00\xc0\x07\x8c'], [0x1fe, [0x55, 0xaa]], [0x202, 'HdrS']);
const arm64Image = file([0, [0x4d, 0x5a, 0x40, 0xfa]], [56, 'ARM\x64'], [64, 'PE\0\0']);
const arm64WithoutStub = file([0, [0, 0, 0, 0x14]], [56, 'ARM\x64']);
const zboot = file([0, 'MZ\0\0zimg'], [24, 'zstd'], [56, 'ARM\x64']);
const pe = file([0, 'MZ\x90\0\x03'], [0x3c, [0x80]], [0x80, 'PE\0\0']);
const iso = file([32_768, [1]], [32_769, 'CD001'], [0x1fe, [0x55, 0xaa]]);
const isoWithoutBootSector = file([32_768, [1]], [32_769, 'CD001']);
const tar = file([0, 'manifest.json'], [257, 'ustar\x0000']);
const gnuTar = file([0, 'disk.vmdk'], [257, 'ustar  \0']);
const raw = file([0x1fe, [0x55, 0xaa]], [512, 'EFI PART']);
const qcow2 = file([0, 'QFI\xfb\0\0\0\x03']);
const vhd = file([0, 'conectix\0\0\0\x02']);
const elf = file([0, [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]]);
const machO = file([0, [0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1]]);
const fatMachO = file([0, [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2]]);
const cpio = file([0, '070701'], [6, '0000000100000001'], [110, 'init']);
const unknown = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 197 + (i >> 3)) % 256));

const right: readonly [versions: string, name: string, head: Uint8Array][] = [
  ['1.9, 1.11, 1.13', 'kernel-amd64', bzImage],
  ['1.9', 'kernel-arm64', arm64Image],
  ['1.11, 1.13', 'kernel-arm64', zboot],
  ['any', 'kernel-arm64', gzip],
  ['any', 'kernel-arm64', arm64WithoutStub],
  ['before 1.8', 'initramfs-amd64.xz', xz],
  ['1.9, 1.11, 1.13', 'initramfs-amd64.xz', zstd],
  ['1.9, 1.11, 1.13', 'initramfs-arm64.xz', zstd],
  ['any', 'initramfs-amd64.xz', gzip],
  ['any', 'initramfs-amd64.xz', cpio],
  ['1.9', 'metal-amd64.iso', iso],
  ['1.11, 1.13', 'metal-amd64-secureboot.iso', isoWithoutBootSector],
  ['1.13', 'nocloud-arm64.iso', iso],
  ['1.9, 1.11, 1.13', 'metal-amd64-secureboot-uki.efi', pe],
  ['1.11', 'metal-arm64-uki.efi', pe],
  ['1.9, 1.11, 1.13', 'installer-amd64.tar', tar],
  ['1.11', 'aws-installer-arm64.tar', gnuTar],
  ['1.9, 1.11, 1.13', 'metal-amd64.raw.zst', zstd],
  ['before 1.8', 'metal-amd64.raw.xz', xz],
  ['1.9, 1.11, 1.13', 'aws-amd64.raw.xz', xz],
  ['1.9, 1.11, 1.13', 'gcp-amd64.raw.tar.gz', gzip],
  ['1.9, 1.11, 1.13', 'azure-amd64.vhd.xz', xz],
  ['1.9, 1.11, 1.13', 'digital-ocean-amd64.raw.gz', gzip],
  ['1.9, 1.11, 1.13', 'vmware-amd64.ova', gnuTar],
  ['1.9, 1.11, 1.13', 'oracle-amd64.qcow2', qcow2],
  ['1.13', 'metal-amd64.qcow2', qcow2],
  ['1.11', 'scaleway-arm64.raw.zst', zstd],
  ['any', 'metal-amd64.raw', raw],
  ['any', 'azure-amd64.vhd', vhd],
  ['any', 'azure-amd64.vhd', raw],
  ['any', 'oracle-amd64.qcow2.xz', xz],
  ['1.9, 1.11, 1.13', 'talosctl-linux-amd64', elf],
  ['1.9, 1.11, 1.13', 'talosctl-freebsd-arm64', elf],
  ['1.9, 1.11, 1.13', 'talosctl-darwin-arm64', machO],
  ['any', 'talosctl-darwin-amd64', fatMachO],
  ['1.9, 1.11, 1.13', 'talosctl-windows-amd64.exe', pe],
];
test.each(right)('Talos %s: %s is accepted', (_versions, name, head) => {
  expect(faultOfFile(name, 20 * mib, head)).toBeUndefined();
});

const names = [
  'kernel-amd64',
  'initramfs-amd64.xz',
  'metal-amd64.iso',
  'metal-amd64-uki.efi',
  'installer-amd64.tar',
  'metal-amd64.raw.zst',
  'vmware-amd64.ova',
  'talosctl-linux-amd64',
  'cmdline-metal-amd64',
];

describe.each(names)('%s', (name) => {
  const long = (text: string): Buffer => Buffer.from(text.padEnd(40_000, ' '));
  test.each([
    ['a page', '<!doctype html><title>log in</title>', /web page/],
    ['a page after a byte order mark and blanks', '\ufeff\r\n  <html lang="en">', /web page/],
    ['a comment and a page', '<!-- filter --><html>', /web page/],
    ['XML of an object store', '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /web page/],
  ])('%s is refused, whatever its size', (_what, text, message) => {
    expect(faultOfFile(name, Buffer.byteLength(text), Buffer.from(text))).toMatch(message);
    const page = long(text);
    expect(faultOfFile(name, page.byteLength, page.subarray(0, firstBytes))).toMatch(
      /web page|no kernel command line/,
    );
  });

  test.each([
    ['text', 'Blocked by policy.\nAsk your administrator.\n'],
    ['JSON', '{\n"error": "not found"}'],
    ['UTF-16', Buffer.from('\ufeff<html>'.padEnd(40_000), 'utf16le')],
  ])('%s is refused', (_what, content) => {
    const bytes = typeof content === 'string' ? long(content) : content;
    expect(faultOfFile(name, bytes.byteLength, bytes.subarray(0, firstBytes))).toMatch(
      /text and not|no kernel command line/,
    );
  });
});

test.each(names.filter((name) => !name.startsWith('cmdline-')))(
  '%s: an unknown format is accepted, but not a tiny one',
  (name) => {
    const size = Math.max(unknown.byteLength, firstBytes);
    expect(faultOfFile(name, size, unknown)).toBeUndefined();
    expect(faultOfFile(name, 53, unknown.subarray(0, 53))).toMatch(/has 53 bytes/);
  },
);

describe('a kernel command line', () => {
  const fault = (text: string | Buffer): string | undefined =>
    faultOfFile('cmdline-metal-amd64', Buffer.byteLength(text), Buffer.from(text));
  test.each([
    'talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 selinux=1',
    'talos.platform=metal console=ttyS0\n',
    'quiet talos.config=https://matchbox.lab/config?h=$h dyndbg="file a.c +p"',
  ])('%j is accepted', (text) => expect(fault(text)).toBeUndefined());
  test.each([
    ['', /no kernel argument/],
    ['blocked', /no kernel argument/],
    ['a=b\nc=d', /not one line/],
    ['a=b\u0007', /not one line/],
    [Buffer.from([0x61, 0x3d, 0xff]), /not one line/],
    [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), /not one line/],
    ['<b>a=b</b>', /web page/],
  ] as const)('%j is refused', (text, message) => expect(fault(text as string | Buffer)).toMatch(message));
});

test('a mark that begins where the file ends is none', () => {
  const cut = isoWithoutBootSector.subarray(0, firstBytes - 1);
  expect(faultOfFile('metal-amd64.iso', cut.byteLength, cut)).toMatch(/at least 32774/);
});
