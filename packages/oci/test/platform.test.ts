/** P2, P3: platforms are compared as containerd compares them. */
import { expect, test } from 'vitest';
import { bytesOf } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import { platformOfImage } from '../src/model/manifest.ts';
import { MediaType } from '../src/model/media-type.ts';
import { formatPlatform, isOfPlatforms, parsePlatform } from '../src/model/platform.ts';

test.each([
  ['linux/amd64', 'linux/amd64'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/x86_64', 'linux/amd64'],
  ['linux/x86-64/v1', 'linux/amd64'],
  ['linux/amd64/v2', 'linux/amd64/v2'],
  ['linux/arm64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm64/8', 'linux/arm64'],
  ['linux/arm64/v8.0', 'linux/arm64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/aarch64/v8', 'linux/arm64'],
  ['linux/arm64/v9.0', 'linux/arm64/v9'],
  ['linux/arm64/v9', 'linux/arm64/v9'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/7', 'linux/arm/v7'],
  ['linux/arm/v7', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/armhf', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/i386', 'linux/386'],
  ['linux/i386/sse2', 'linux/386'],
  ['Linux/AMD64', 'linux/amd64'],
  ['macos/arm64', 'darwin/arm64'],
  ['linux/riscv64', 'linux/riscv64'],
  ['linux/constructor', 'linux/constructor'],
])('%s is %s', (text, expected) => {
  const platform = parsePlatform(text);
  expect(platform === undefined ? undefined : formatPlatform(platform)).toBe(expected);
  const [os = '', architecture = '', variant] = text.split('/');
  expect(formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) })).toBe(expected);
});

test.each(['', 'amd64', 'linux/', '/amd64', 'linux/amd64/v1/x', 'linux amd64', 'linux/../x'])(
  '%j is no platform',
  (text) => expect(parsePlatform(text)).toBeUndefined(),
);

const child = (platform?: Descriptor['platform']): Descriptor => ({
  ...descriptorOf(MediaType.ociManifest, Buffer.from('{}')),
  ...(platform === undefined ? {} : { platform }),
});

test.each([
  ['linux/arm64/v8', { os: 'linux', architecture: 'arm64' }, true],
  ['linux/arm64', { os: 'linux', architecture: 'arm64', variant: 'v8' }, true],
  ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v7' }, true],
  ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v6' }, false],
  ['linux/amd64', { os: 'linux', architecture: 'x86_64' }, true],
  ['linux/amd64', { os: 'windows', architecture: 'amd64' }, false],
  ['linux/amd64', undefined, true],
])('of those who want %s, %j: %s', (wanted, platform, expected) => {
  expect(isOfPlatforms(child(platform), ['linux/s390x', wanted])).toBe(expected);
});

test.each([
  [
    'OCI',
    MediaType.ociConfig,
    { os: 'linux', architecture: 'arm', variant: 'v7' },
    undefined,
    'linux/arm/v7',
  ],
  ['Docker', MediaType.dockerConfig, { os: 'linux', architecture: 'amd64' }, undefined, 'linux/amd64'],
  ['an attestation', MediaType.ociConfig, { os: 'unknown', architecture: 'unknown' }, undefined, undefined],
  ['an empty one', MediaType.ociConfig, {}, undefined, undefined],
  ['none of JSON', MediaType.ociConfig, 'text', undefined, undefined],
  [
    'a chart',
    'application/vnd.cncf.helm.config.v1+json',
    { os: 'linux', architecture: 'amd64' },
    undefined,
    undefined,
  ],
  [
    'an artifact',
    MediaType.ociConfig,
    { os: 'linux', architecture: 'amd64' },
    'application/vnd.x',
    undefined,
  ],
])(
  'the platform of an image by itself, by its configuration: %s',
  async (_what, type, text, artifactType, expected) => {
    const bytes = Buffer.from(JSON.stringify(text));
    const config = descriptorOf(type, bytes);
    const image = { kind: 'image', mediaType: MediaType.ociManifest, config, layers: [] } as const;
    const platform = await platformOfImage(
      { fetch: () => bytesOf(bytes) },
      artifactType === undefined ? image : { ...image, artifactType },
    );
    expect(platform === undefined ? undefined : formatPlatform(platform)).toBe(expected);
  },
);
