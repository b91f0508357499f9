/** Names of media files. */
import { growthOf, linearGrowth } from '@omni-airgap/oci/testing';
import { describe, expect, it } from 'vitest';
import {
  contentTypeOf,
  formatBootTarget,
  isMediaName,
  type Media,
  parseBootTarget,
  parseMediaName,
} from '../src/media.ts';

const metal = { platform: 'metal', arch: 'amd64', secureboot: false } as const;

const names: readonly (readonly [string, Media])[] = [
  ['kernel-amd64', { kind: 'kernel', arch: 'amd64' }],
  ['kernel-arm64', { kind: 'kernel', arch: 'arm64' }],
  ['initramfs-amd64.xz', { kind: 'initramfs', arch: 'amd64' }],
  ['cmdline-metal-amd64', { kind: 'cmdline', ...metal }],
  ['cmdline-metal-arm64-secureboot', { kind: 'cmdline', platform: 'metal', arch: 'arm64', secureboot: true }],
  ['metal-amd64.iso', { kind: 'iso', ...metal }],
  ['metal-amd64-secureboot.iso', { kind: 'iso', ...metal, secureboot: true }],
  ['metal-amd64-uki.efi', { kind: 'uki', ...metal }],
  ['metal-amd64-secureboot-uki.efi', { kind: 'uki', ...metal, secureboot: true }],
  ['installer-amd64.tar', { kind: 'installer', arch: 'amd64', secureboot: false }],
  ['installer-arm64-secureboot.tar', { kind: 'installer', arch: 'arm64', secureboot: true }],
  ['aws-installer-amd64.tar', { kind: 'installer', platform: 'aws', arch: 'amd64', secureboot: false }],
  [
    'digital-ocean-installer-amd64-secureboot.tar',
    { kind: 'installer', platform: 'digital-ocean', arch: 'amd64', secureboot: true },
  ],
  ['metal-amd64.raw', { kind: 'disk', ...metal, format: 'raw' }],
  ['metal-amd64.raw.xz', { kind: 'disk', ...metal, format: 'raw.xz' }],
  ['metal-amd64.raw.zst', { kind: 'disk', ...metal, format: 'raw.zst' }],
  [
    'gcp-amd64.raw.tar.gz',
    { kind: 'disk', platform: 'gcp', arch: 'amd64', secureboot: false, format: 'raw.tar.gz' },
  ],
  [
    'metal-arm64.qcow2',
    { kind: 'disk', platform: 'metal', arch: 'arm64', secureboot: false, format: 'qcow2' },
  ],
  [
    'azure-amd64.vhd.xz',
    { kind: 'disk', platform: 'azure', arch: 'amd64', secureboot: false, format: 'vhd.xz' },
  ],
  ['vmware-amd64.ova', { kind: 'disk', platform: 'vmware', arch: 'amd64', secureboot: false, format: 'ova' }],
  [
    'metal-amd64-secureboot.raw.gz',
    { kind: 'disk', platform: 'metal', arch: 'amd64', secureboot: true, format: 'raw.gz' },
  ],
];

describe('media names', () => {
  it.each(names)('%s', (name, media) => {
    expect(parseMediaName(name)).toEqual(media);
    expect(isMediaName(name)).toBe(true);
  });

  it.each([
    '',
    'kernel',
    'kernel-x86_64',
    'kernel-amd64.xz',
    'kernel-amd64.iso',
    'initramfs-amd64',
    'initramfs-amd64.raw',
    'cmdline-amd64',
    'amd64.iso',
    '-amd64.iso',
    'metal--amd64.iso',
    'Metal-amd64.iso',
    'métal-amd64.iso',
    'metal-amd64.ISO',
    'metal-riscv64.iso',
    'metal-amd64',
    'metal-amd64.exe',
    'metal-amd64.raw.bz2',
    'metal-amd64.raw.xz.xz',
    'metal-amd64-secureboot-secureboot.iso',
    'kernel-x-amd64.iso',
    'installer-metal-amd64.iso',
    'metal-installer-amd64.iso',
    'metal-amd64.tar',
    'installer.tar',
    '1metal-amd64.iso',
    'metal-amd64.iso\n',
    ' metal-amd64.iso',
    'metal-amd64.iso?x',
    'metal-amd64.sha256',
  ])('%j is refused', (name) => {
    expect(isMediaName(name)).toBe(false);
    expect(() => parseMediaName(name)).toThrow(expect.objectContaining({ code: 'BAD_MEDIA_NAME' }));
  });

  it.each([
    '../metal-amd64.iso',
    'a/metal-amd64.iso',
    '..\\metal-amd64.iso',
    '%2e%2e%2fmetal-amd64.iso',
    'metal\0-amd64.iso',
  ])('T50 path in %j is refused', (name) => {
    expect(isMediaName(name)).toBe(false);
  });

  it.each(['a-', '-', 'a', 'amd64-', 'installer-'])('T26 answers in linear time: %s', async (part) => {
    const name = (times: number): string => `${part.repeat(times)}.iso`;
    expect(isMediaName(name(30_000))).toBe(false);
    expect(await growthOf(30_000, name, isMediaName)).toBeLessThan(linearGrowth);
  });

  it('T25 are escaped in messages', () => {
    expect(() => parseMediaName('a\u001b[31m\u202e')).toThrow(/"a\\u001b\[31m\\u202e"$/);
  });
});

describe('boot targets', () => {
  it('are parsed and formatted', () => {
    for (const text of ['metal-amd64', 'aws-arm64-secureboot', 'digital-ocean-amd64']) {
      expect(formatBootTarget(parseBootTarget(text))).toBe(text);
    }
    expect(() => parseBootTarget('metal')).toThrow(expect.objectContaining({ code: 'BAD_MEDIA_NAME' }));
    expect(() => parseBootTarget(`${'a'.repeat(200)}-amd64`)).toThrow(
      expect.objectContaining({ code: 'BAD_MEDIA_NAME' }),
    );
  });
});

describe('contentTypeOf', () => {
  it.each([
    ['metal-amd64-uki.efi', 'application/efi'],
    ['metal-amd64.iso', 'application/x-iso9660-image'],
    ['metal-amd64.raw.xz', 'application/x-xz'],
    ['gcp-amd64.raw.tar.gz', 'application/gzip'],
    ['metal-amd64.qcow2', 'application/x-qemu-disk'],
    ['kernel-amd64', 'application/octet-stream'],
  ])('%s', (name, type) => {
    expect(contentTypeOf(name)).toBe(type);
  });
});
