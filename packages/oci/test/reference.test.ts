import { describe, expect, test } from 'vitest';
import { digestOf } from '../src/model/digest.ts';
import {
  formatReference,
  isRegistryHost,
  isRepository,
  isTag,
  parseReference,
} from '../src/model/reference.ts';
import { growthOf, linearGrowth } from '../src/testing/growth.ts';

const digest = digestOf(Buffer.from('x'));

describe('reference', () => {
  test.each([
    ['ghcr.io/siderolabs/omni:v1.10.4', 'ghcr.io', 'siderolabs/omni', 'v1.10.4', undefined],
    [`ghcr.io/siderolabs/installer@${digest}`, 'ghcr.io', 'siderolabs/installer', undefined, digest],
    // As talosctl image and the Image Factory print them: tag and digest.
    [`ghcr.io/siderolabs/flannel:v0.27.4@${digest}`, 'ghcr.io', 'siderolabs/flannel', 'v0.27.4', digest],
    ['registry.k8s.io/pause:3.10', 'registry.k8s.io', 'pause', '3.10', undefined],
    [
      'factory.talos.dev/metal-installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba:v1.13.9',
      'factory.talos.dev',
      'metal-installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba',
      'v1.13.9',
      undefined,
    ],
    ['127.0.0.1:5000/a/b/c:1', '127.0.0.1:5000', 'a/b/c', '1', undefined],
    ['localhost/x:1', 'localhost', 'x', '1', undefined],
    ['[::1]:5000/x:1', '[::1]:5000', 'x', '1', undefined],
    ['registry:5000/x:1', 'registry:5000', 'x', '1', undefined],
    // Docker's short forms.
    ['alpine:3.20', 'docker.io', 'library/alpine', '3.20', undefined],
    ['dexidp/dex:v2.41.1', 'docker.io', 'dexidp/dex', 'v2.41.1', undefined],
    ['docker.io/alpine:3.20', 'docker.io', 'library/alpine', '3.20', undefined],
    ['index.docker.io/library/alpine:3.20', 'docker.io', 'library/alpine', '3.20', undefined],
    ['x.y/a__b/c---d/e.f_g:T_a.g-1', 'x.y', 'a__b/c---d/e.f_g', 'T_a.g-1', undefined],
  ])('%s', (text, registry, repository, tag, hash) => {
    const ref = parseReference(text);
    expect(ref).toEqual({
      registry,
      repository,
      ...(tag === undefined ? {} : { tag }),
      ...(hash === undefined ? {} : { digest: hash }),
    });
    expect(parseReference(formatReference(ref))).toEqual(ref);
  });

  test.each([
    ['ghcr.io/a/b', 'no tag and no digest'],
    ['ghcr.io/A/b:1', 'lower case'],
    ['ghcr.io/a//b:1', 'bad repository'],
    ['ghcr.io/a/../b:1', 'bad repository'],
    ['ghcr.io/a/.b:1', 'bad repository'],
    ['ghcr.io/a-:1', 'bad repository'],
    ['ghcr.io/a___b:1', 'bad repository'],
    ['ghcr.io/a..b:1', 'bad repository'],
    ['ghcr.io/:1', 'bad repository'],
    ['ghcr.io/a/:1', 'bad repository'],
    ['/a:1', 'bad repository'],
    ['ghcr.io/a:', 'bad tag'],
    ['ghcr.io/a:.x', 'bad tag'],
    ['ghcr.io/a:-x', 'bad tag'],
    [`ghcr.io/a:${'x'.repeat(129)}`, 'bad tag'],
    ['ghcr.io/a:x\ny', 'bad tag'],
    ['ghcr.io/a@sha256:abc', 'not a digest'],
    [`ghcr.io/a@${digest}@${digest}`, 'not a digest'],
    ['user@ghcr.io/a:1', 'not a digest'],
    ['https://ghcr.io/a:1', 'bad registry'],
    ['-x.io/a:1', 'bad registry'],
    ['ghcr..io/a:1', 'bad registry'],
    ['ghcr.io:99999/a:1', 'bad registry'],
    ['ghcr.io:/a:1', 'bad registry'],
    ['[zz]:1/a:1', 'bad registry'],
    ['[1:2:3]:1/a:1', 'bad registry'],
    ['ghcr.io%2fevil/a:1', 'bad registry'],
    ['', 'bad repository'],
    ['x'.repeat(601), 'too many characters'],
  ])('T25 refuses %j', (text, why) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
    expect(() => parseReference(text)).toThrow(why);
  });

  test('T25 what is repeated is escaped', () => {
    expect(() => parseReference('ghcr.io/a:\u001b[2J')).toThrow('reference ghcr.io/a:\\u001b[2J');
  });

  test('T25 limits: a repository of 255, a tag of 128 characters', () => {
    expect(isRepository('a'.repeat(255))).toBe(true);
    expect(isRepository('a'.repeat(256))).toBe(false);
    expect(isRepository('')).toBe(false);
    expect(isTag('a'.repeat(128))).toBe(true);
    expect(isTag('a'.repeat(129))).toBe(false);
  });

  test('T26 adversarial names of 64 KiB are answered in linear time', async () => {
    const patterns = [
      'a',
      'a-',
      'a_',
      'a.',
      '-',
      '_',
      '/',
      'a/',
      ':',
      '@',
      '.',
      'a.a-a__',
      '[',
      '1:',
      'x@',
      '%',
    ];
    const texts = (size: number): string[] =>
      patterns.flatMap((pattern) =>
        ['', '!', ':1', '\n'].map((end) => pattern.repeat(size / pattern.length) + end),
      );
    for (const text of texts(65536)) {
      expect([isRepository(text), isTag(text), isRegistryHost(text)]).toEqual([false, false, false]);
      expect(() => parseReference(text)).toThrow();
    }
    const growth = await growthOf(65536, texts, (all) => {
      for (const text of all) {
        isRepository(text);
        isTag(text);
        isRegistryHost(text);
        try {
          parseReference(text);
        } catch {
          // Each is refused, see above.
        }
      }
    });
    expect(growth).toBeLessThan(linearGrowth);
  });

  test('T26 so are adversarial names just below the limits, where the patterns do run', async () => {
    const texts = (size: number): string[] => [
      'a-'.repeat(size / 2 - 1),
      `${'a-'.repeat(size / 2 - 2)}a!`,
      `${'a'.repeat(size - 2)}-`,
      'a.'.repeat(size / 2 - 1),
    ];
    for (const text of texts(256)) {
      expect([isRepository(text), isRegistryHost(`${text}.`)]).toEqual([false, false]);
    }
    const growth = await growthOf(256, texts, (all) => {
      for (const text of all) {
        isRepository(text);
        isRegistryHost(`${text}.`);
      }
    });
    expect(growth).toBeLessThan(linearGrowth);
  });
});
