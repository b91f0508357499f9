/** "Will it work inside?", by the kinds of what may not. */
import { registryKinds } from '@omni-airgap/oci/registry';
import {
  type CarriedName,
  insideFindings,
  insideRefusal,
  parseSite,
  type SiteFacts,
} from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';

const id = '3'.repeat(64);
const omni = 'ghcr.io/siderolabs/omni:v1.10.4';
const factory = 'ghcr.io/siderolabs/image-factory:v1.5.0';
const versions = 'factory.talos.dev/talos-catalog/versions:latest';
/** All that Omni needs to know of a site. */
const known = { inside: { tls: true, factory: 'existing' } } as const;

const said = (names: readonly (string | CarriedName)[], facts: SiteFacts = {}): readonly string[] =>
  insideFindings(
    names.map((name) => (typeof name === 'string' ? { name } : name)),
    facts,
    registryKinds,
  ).map(({ level, message }) => `${level}: ${message}`);

const withSite = (text: string, inside?: SiteFacts['inside']): SiteFacts => ({
  site: parseSite(text, 'site.yaml'),
  inside,
});

test('a set that fits, at a site that is known, has nothing against it', () => {
  expect(
    said(
      [omni, factory, versions, 'ghcr.io/siderolabs/imager:v1.13.9', 'ghcr.io/siderolabs/kubelet:v1.36.1'],
      {
        inside: { registry: 'zot', tls: true, factory: 'carried' },
      },
    ),
  ).toEqual([]);
  expect(said(['ghcr.io/dexidp/dex:v2'])).toEqual([]);
});

describe('U-M3 an Omni needs an Image Factory', () => {
  test.each([
    [
      [omni],
      {},
      [/^confirm: Omni v1\.10\.4 needs an Image Factory and none is carried; add talos\.imageFactory/],
    ],
    [[omni, factory], {}, []],
    [[omni], { factory: 'existing' }, []],
    [[omni], { factory: 'carried' }, [/^error: inside\.factory is carried, but no Image Factory is; add/]],
    [[omni, factory], { factory: 'carried' }, []],
    [[omni], { factory: 'serve' }, [/^error: inside\.factory is serve, .*; add media to mirror\.yaml/]],
    [[omni, versions], { factory: 'serve' }, []],
    [['ghcr.io/dexidp/dex:v2'], { factory: 'carried' }, []],
  ] as const)('%j, %j', (names, inside, expected) => {
    const found = said(names, { inside: { ...inside, tls: true } });
    expect(found).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
  });
});

describe('H1 Omni reads a registry without TLS at private addresses alone', () => {
  const inside = { factory: 'existing' } as const;
  test.each([
    [
      { inside },
      /^confirm: Omni v1\.10\.4 reads the registry over HTTPS; confirm with inside: \{tls: true\}/,
    ],
    [{ inside: { ...inside, tls: false } }, /^warning: the registry has no TLS \(inside\.tls: false\)/],
    [withSite('registry: http://registry.site:5000', inside), /^error: site\.yaml:1:11: registry http/],
    [
      withSite('registry: https://registry.site:5000', { ...inside, tls: false }),
      /^error: inside\.tls of mirror\.yaml is false, but site\.yaml:1:11 says https:\/\/registry\.site:5000; correct/,
    ],
  ])('%#', (facts, pattern) => {
    expect(said([omni], facts)).toEqual([expect.stringMatching(pattern)]);
  });
  test.each([
    { inside: { ...inside, tls: true } },
    withSite('registry: https://registry.site:5000', inside),
    withSite('registry: http://10.0.0.5:5000', inside),
  ])('which is met, %#', (facts) => {
    expect(said([omni], facts)).toEqual([]);
  });
});

describe('installers of carried media', () => {
  const media = (files: readonly string[], version = 'v1.13.9'): CarriedName => ({
    name: `factory.talos.dev/talos-media/${id}:${version}`,
    files,
  });
  const installer = (name: string, version = 'v1.13.9'): string =>
    `factory.talos.dev/${name}/${id}:${version}`;
  const served = { inside: { tls: true, factory: 'serve' } } as const;
  const carried = { inside: { tls: true, factory: 'carried' } } as const;
  const pxe = ['kernel-amd64', 'initramfs-amd64.xz', 'cmdline-metal-amd64'];

  test.each([
    ['metal', pxe],
    ['metal', ['metal-amd64.iso', ...pxe]],
    ['metal-secureboot', ['metal-amd64-secureboot.iso']],
    ['metal-secureboot, nocloud', ['metal-arm64-secureboot-uki.efi', 'nocloud-amd64.raw.xz']],
  ])('that serve cannot build: %s', (missing, files) => {
    const text = `warning: machines that boot the carried media of schematic ${id} (Talos v1.13.9) install from its installer, which is not carried, and serve builds nothing; add installers: [${missing}] beside that schematic in mirror.yaml`;
    expect(said([omni, versions, media(files)], served)).toEqual([text]);
    const repositories = missing
      .split(', ')
      .map((one) => installer(one.replace(/^([a-z]+)/, '$1-installer')));
    expect(said([omni, versions, media(files), ...repositories], served)).toEqual([]);
  });

  test('that an Image Factory without their sources cannot build', () => {
    const set = [omni, factory, versions, media(['metal-amd64.iso'], 'v1.12.4')];
    const imager = (version: string): string => `ghcr.io/siderolabs/imager:${version}`;
    expect(said([...set, imager('v1.13.9')], carried)).toEqual([
      expect.stringMatching(
        /^warning: .*Talos v1\.12\.4.* only what it has sources of; add v1\.12\.4 to talos/,
      ),
    ]);
    expect(said([...set, imager('v1.12.4')], carried)).toEqual([]);
  });

  test.each([
    ['without Omni', ['ghcr.io/dexidp/dex:v2', versions, media(pxe)], served],
    ['where a factory runs already', [omni, versions, media(pxe)], known],
    ['of files that boot nothing', [omni, versions, media(['cmdline-metal-amd64'])], served],
  ] as const)('not asked for %s', (_, names, facts) => {
    expect(said([...names], facts)).toEqual([]);
  });
});

test('what else its consumers demand of the URLs of a site file', () => {
  expect(said([], withSite('login: http://login.site'))).toEqual([
    expect.stringMatching(/^warning: login http:\/\/login\.site: passwords cross/),
  ]);
});

test('H10, U-M3 versions that do not fit, or that Omni does not offer', () => {
  const talos = ['v1.13.1', 'v1.14.0'].map((version) => `factory.talos.dev/metal-installer/${id}:${version}`);
  expect(said([omni, ...talos], known)).toEqual([
    expect.stringMatching(/^warning: Omni v1\.10\.4 never offers Talos v1\.13\.1/),
    'warning: Omni v1.10.4 manages Talos 1.9 to 1.13, not v1.14.0',
  ]);
});

test('U-M3 platforms of installers and boot assets, with the nearest that is known', () => {
  expect(
    said([
      `factory.talos.dev/openstak-installer-secureboot/${id}:v1.13.9`,
      {
        name: `factory.talos.dev/talos-media/${id}:v1.13.9`,
        files: ['metal-amd64.iso', 'zzzzzz-amd64.raw.xz'],
      },
    ]),
  ).toEqual([
    'warning: openstak is not a known platform of Talos; did you mean openstack?',
    expect.stringMatching(/^warning: zzzzzz is not a known platform of Talos; known are metal, /),
  ]);
});

describe('P15 names that become one without their host', () => {
  const a = { name: 'a.example.com/c/plain:v1', digest: 'sha256:1' };
  test('with different content', () => {
    const others = Array.from({ length: 6 }, (_, i) => ({
      ...a,
      name: `${i}.example.com/c/plain:v1`,
      digest: `x${i}`,
    }));
    expect(said([a, ...others])).toEqual([
      expect.stringMatching(
        /^warning: names that become one .*: a\.example\.com\/c\/plain:v1 and 0\.example\.com\/c\/plain:v1; .*, and 1 more; load them with --keep-host/,
      ),
    ]);
  });
  test.each([
    ['the same content', { ...a, name: 'b.example.com/c/plain:v1' }],
    ['another tag', { name: 'b.example.com/c/plain:v2', digest: 'sha256:2' }],
    ['content that is not known yet', { name: 'b.example.com/c/plain:v1' }],
    ['a name without a tag', { name: 'b.example.com/c/plain@sha256:2', digest: 'sha256:2' }],
  ])('not with %s', (_, b) => {
    expect(said([a, b])).toEqual([]);
  });
});

describe('P8 what the kind of registry refuses', () => {
  const sparse = {
    name: 'ghcr.io/c/x:v1',
    shapes: ['index', 'sparse'],
    platforms: ['linux/amd64', 'linux/arm64'],
  };
  const mixed = { name: 'ghcr.io/c/m:v1', shapes: ['docker', 'index', 'mixed'] };
  test('a kind that is named: what is in the set, with the way out and where that is known from', () => {
    expect(
      said([sparse, { ...sparse, name: 'ghcr.io/c/y:v1' }, mixed], { inside: { registry: 'distribution' } }),
    ).toEqual([
      expect.stringMatching(
        /^warning: Distribution refuses an index of which only some platforms are carried \(ghcr\.io\/c\/x:v1 and 1 more\); .*; or carry all platforms, or load with --trim-indexes \[distribution\/distribution v3\.0\.0/,
      ),
    ]);
    expect(said([sparse, mixed], { inside: { registry: 'quay' } })[0]).toMatch(
      /^warning: Quay refuses an OCI index with Docker images in it \(ghcr\.io\/c\/m:v1\)/,
    );
  });
  test('--flatten is a way for one platform alone', () => {
    const one = { ...sparse, platforms: ['linux/amd64'] };
    expect(said([one], { inside: { registry: 'distribution' } })[0]).toContain('(--flatten where one');
  });
  test('where its names lie is to be confirmed, unless the site file has a path', () => {
    const inside = { registry: 'harbor' };
    expect(said(['ghcr.io/c/x:v1'], { inside })).toEqual([
      expect.stringMatching(
        /^confirm: Harbor refuses projects that do not exist, .*--registry HOST\/PROJECT \[goharbor/,
      ),
    ]);
    expect(said(['ghcr.io/c/x:v1'], withSite('registry: https://registry.site/project', inside))).toEqual([]);
  });
  test('a kind that is not named is to be confirmed where that matters', () => {
    expect(said(['ghcr.io/c/x:v1'])).toEqual([]);
    expect(said([sparse])).toEqual([
      expect.stringMatching(/^confirm: the kind of the registry, .*Distribution refuses an index/),
    ]);
    expect(said([sparse], { inside: { registry: 'serve' } })).toEqual([]);
  });
});

test('errors stop, warnings with --strict, what is to be confirmed never', () => {
  const of = (level: 'error' | 'warning' | 'confirm') => ({ level, message: level });
  expect(insideRefusal([of('confirm')], true)).toBeUndefined();
  expect(insideRefusal([of('warning')], false)).toBeUndefined();
  expect(insideRefusal([of('warning'), of('confirm')], true)).toBe(
    '--strict: a warning about the site: warning',
  );
  expect(insideRefusal([of('error'), of('error'), of('warning')], false)).toBe(
    'it will not work inside: error; error',
  );
});
