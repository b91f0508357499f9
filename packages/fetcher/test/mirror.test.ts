/** mirror.yaml: what is understood, and what is said of what is not. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { schematicFrom } from '@omni-airgap/talos';
import { describe, expect, onTestFinished, test } from 'vitest';
import { withStandIns } from '../src/mirror/chosen-versions.ts';
import { init } from '../src/mirror/init.ts';
import { parseMirror, readMirror } from '../src/mirror/mirror.ts';
import { resolveMirror } from '../src/mirror/resolved-mirror.ts';

const head = 'apiVersion: omni-airgap/v1\n';
const vanilla = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';

async function* bytes(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text);
}
const parse = (text: string, stdin = '') => parseMirror(`${head}${text}`, 'mirror.yaml', bytes(stdin));

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'omni-airgap-mirror-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test.each(['constructor', 'toString', '__proto__'])(
  'A20 the name %s, which every object has, is no key here',
  async (name) => {
    await expect(parse(`${name}: 1\nimages: [busybox:1]\n`)).rejects.toThrow(
      `:2:1: ${name} is not known here`,
    );
    await expect(parse(`talos:\n  versions: [v1.13.9]\n  ${name}: {}\n`)).rejects.toThrow(
      `talos.${name} is not known here`,
    );
  },
);

describe('what is understood', () => {
  test('every section; versions get their v, lists name nothing twice', async () => {
    const mirror = await parse(`
omni: {version: 1.10.4}
talos:
  versions: [v1.13.9, 1.13.9, v1.12.4]
  imageFactory: {version: v1.5.0, extensions: all, overlays: [rpi_generic, rpi_generic]}
  talosctl: [linux-amd64, darwin-arm64]
media:
  - schematic: {customization: {}}
    files: [metal-amd64.iso, metal-amd64.iso]
    installers: [metal, metal-secureboot]
  - schematic: ${vanilla}
    versions: [v1.11.6]
    files: [kernel-arm64]
kubernetes: {versions: [v1.36.1]}
images:
  - busybox:1.36
  - ghcr.io/dexidp/dex:v2.41.1
platforms: [linux/amd64, linux/arm/v7]
`);
    expect(mirror).toMatchObject({
      omni: { versions: ['v1.10.4'] },
      talos: {
        versions: ['v1.13.9', 'v1.12.4'],
        imageFactory: { version: 'v1.5.0', extensions: 'all', overlays: ['rpi_generic'] },
      },
      talosctl: ['linux-amd64', 'darwin-arm64'],
      kubernetes: { versions: ['v1.36.1'] },
      images: [{ reference: 'docker.io/library/busybox:1.36' }, { reference: 'ghcr.io/dexidp/dex:v2.41.1' }],
      platforms: ['linux/amd64', 'linux/arm/v7'],
    });
    expect(mirror.media).toMatchObject([
      {
        schematic: { kind: 'text', id: vanilla },
        versions: ['v1.13.9', 'v1.12.4'],
        files: ['metal-amd64.iso'],
        installers: ['metal', 'metal-secureboot'],
      },
      { schematic: { kind: 'id', id: vanilla }, versions: ['v1.11.6'], files: ['kernel-arm64'] },
    ]);
  });

  test('the file that init writes', async () => {
    const path = join(await temporaryFolder(), 'mirror.yaml');
    await init(path);
    const mirror = await readMirror(path);
    expect(mirror.omni).toEqual({ versions: ['v1.10.4'] });
    expect(mirror.media[0]?.installers).toEqual(['metal']);
    await expect(init(path)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('an inline schematic as the factory would read it, words of YAML 1.1 included', async () => {
    const mirror = await parse(`
media:
  - schematic:
      # a comment
      customization:
        extraKernelArgs:
          - noapic
          - nolapic
        secureboot: {enrollKeys: off}
    versions: [v1.13.9]
    files: [metal-amd64.iso]
`);
    const schematic = mirror.media[0]?.schematic;
    if (schematic?.kind !== 'text') throw new Error('a schematic with its text was expected');
    expect(schematic.schematic.customization.extraKernelArgs).toEqual(['noapic', 'nolapic']);
    expect(schematic.canonical).toContain("enrollKeys: 'off'");
  });

  test('P2 platforms in their normal form, of all images, of one, and of a list', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'images.txt'), 'ghcr.io/a/listed:v1\n');
    const path = join(folder, 'mirror.yaml');
    const text = `${head}platforms: [linux/arm64/v8, linux/x86_64, linux/aarch64, linux/arm]
images:
  - ghcr.io/a/all:v1
  - image: ghcr.io/a/own:v1
    platforms: [linux/arm64/v8, linux/arm64]
  - {image: ghcr.io/a/twice:v1, platforms: [linux/s390x]}
  - {image: ghcr.io/a/twice:v1, platforms: [linux/amd64]}
  - {image: ghcr.io/a/both:v1, platforms: [linux/s390x]}
  - ghcr.io/a/both:v1
  - {file: images.txt, platforms: [linux/amd64/v1]}
`;
    await writeFile(path, text);
    const all = ['linux/arm64', 'linux/amd64', 'linux/arm/v7'];
    const wanted = resolveMirror(withStandIns(await readMirror(path))).images;
    expect(Object.fromEntries(wanted.map(({ reference, platforms }) => [reference, platforms]))).toEqual({
      'ghcr.io/a/all:v1': all,
      'ghcr.io/a/own:v1': ['linux/arm64'],
      'ghcr.io/a/twice:v1': ['linux/s390x', 'linux/amd64'],
      'ghcr.io/a/both:v1': ['linux/s390x', ...all],
      'ghcr.io/a/listed:v1': ['linux/amd64'],
    });
    await writeFile(path, text.replace(/^platforms: \[.*$/m, ''));
    const without = resolveMirror(withStandIns(await readMirror(path))).images;
    // Wanted whole in one place is carried whole.
    expect(without.find(({ reference }) => reference === 'ghcr.io/a/both:v1')?.platforms).toBeUndefined();
  });

  test('an inline schematic keeps a text that looks like a list of images', async () => {
    const written = 'customization: {embeddedMachineConfiguration: "{file: -}"}';
    const { media } = await parse(
      `media: [{schematic: {${written}}, versions: [v1.13.9], files: [metal-amd64.iso]}]`,
    );
    expect(media[0]?.schematic.id).toBe(schematicFrom(`{${written}}`).id);
  });

  test('a schematic in a file beside it', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'vanilla.yaml'), 'customization: {}\n');
    const path = join(folder, 'mirror.yaml');
    await writeFile(
      path,
      `${head}media: [{schematic: vanilla.yaml, versions: [v1.13.9], files: [kernel-amd64]}]\n`,
    );
    expect((await readMirror(path)).media[0]?.schematic.id).toBe(vanilla);
  });

  test('lists of images as talosctl prints them: tag and digest, comments, blanks, repeated lines', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const list = [
      '\ufeff# k8s-bundle of v1.13.9',
      '',
      `ghcr.io/siderolabs/flannel:v0.27@${digest}`,
      '  registry.k8s.io/pause:3.10.1\t',
      'registry.k8s.io/pause:3.10.1  # twice',
      `registry.k8s.io/etcd@${digest}`,
    ].join('\r\n');
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'images.txt'), list);
    const path = join(folder, 'mirror.yaml');
    await writeFile(path, `${head}images: [{file: images.txt}]\n`);
    const expected = [
      `ghcr.io/siderolabs/flannel:v0.27@${digest}`,
      'registry.k8s.io/pause:3.10.1',
      `registry.k8s.io/etcd@${digest}`,
    ].map((reference) => ({ reference }));
    expect((await readMirror(path)).images).toEqual(expected);
    // As `>` in PowerShell writes it (C10).
    await writeFile(join(folder, 'images.txt'), Buffer.from(list, 'utf16le'));
    expect((await readMirror(path)).images).toEqual(expected);
    expect((await parse('images: [{file: -}]', list)).images).toEqual(expected);
    expect((await parse('images: {file: -}', list)).images).toEqual(expected);
    expect((await parse('images:\n  - file: -  # talosctl\n', list)).images).toEqual(expected);
    expect((await parse('images:\n  file: -\n', list)).images).toEqual(expected);
  });
});

describe('images of a Talos version as its talosctl lists them', () => {
  const listed = [
    'ghcr.io/siderolabs/flannel:v0.28.9',
    'registry.k8s.io/coredns/coredns:v1.14.9',
    `registry.k8s.io/etcd:v3.7.9@sha256:${'0'.repeat(64)}`,
    'registry.k8s.io/pause:3.11',
    'registry.k8s.io/kube-apiserver:v1.37.0',
    'ghcr.io/siderolabs/kubelet:v1.37.0',
  ];

  async function imagesFor(yaml: string, list = listed): Promise<readonly string[]> {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'list.txt'), `${list.join('\n')}\n`);
    const path = join(folder, 'mirror.yaml');
    await writeFile(path, `${head}${yaml}`);
    return resolveMirror(withStandIns(await readMirror(path))).images.map(({ reference }) => reference);
  }

  test.each(['v1.99.0', '1.99.0'])('beside one of the table, for %s', async (key) => {
    const yaml = `talos: {versions: [v1.13.9, v1.99.0]}\nkubernetes: {versions: [v1.36.1], images: {${key}: list.txt}}\n`;
    const images = await imagesFor(yaml);
    const table = await imagesFor('talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1]}\n');
    expect(images.toSorted()).toEqual([...new Set([...table, ...listed])].toSorted());
  });

  test('in place of the table for a version that it has', async () => {
    const images = await imagesFor(
      'talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1], images: {v1.13.9: list.txt}}\n',
    );
    expect(images).toEqual(expect.arrayContaining(listed));
    expect(images.filter((name) => name.includes('/etcd:'))).toEqual([listed[2]]);
  });

  test.each([
    [
      'two for one version',
      'images: {v1.13.9: list.txt, 1.13.9: list.txt}',
      listed,
      /:3:\d+: v1\.13\.9 is given twice/,
    ],
    [
      'a list of something else',
      'images: {v1.13.9: list.txt}',
      [listed[2] ?? ''],
      /:3:\d+: .*list\.txt lists no image of coredns, pause; write it with the talosctl of v1\.13\.9: talosctl image k8s-bundle$/,
    ],
    [
      'a malformed image reference',
      'images: {v1.13.9: list.txt}',
      ['a b'],
      /list\.txt:1:1: a reference has no spaces/,
    ],
  ])('%s', async (_what, images, list, message) => {
    const yaml = `talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1], ${images}}\n`;
    await expect(imagesFor(yaml, list)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(message),
    });
  });
});

describe('what is refused, with its place and what to write instead', () => {
  test.each([
    [
      'an unknown key',
      'talos: {version: [v1.13.9]}',
      /^mirror\.yaml:2:9: talos\.version is not known here; did you mean versions\?/,
    ],
    [
      'an unknown section',
      'omnii: {version: v1.10.4}',
      /^mirror\.yaml:2:1: omnii is not known here; did you mean omni\?/,
    ],
    [
      'an unknown key that is like nothing',
      'colour: blue',
      /:2:1: colour is not known here; known are apiVersion, omni, talos/,
    ],
    [
      'a key that media does not have',
      'media: [{schematic: x.yaml, file: [metal-amd64.iso]}]',
      /:2:29: media\[0\]\.file is not known here; did you mean files\?/,
    ],
    [
      'a version that YAML takes for a number',
      'talos: {versions: [1.13]}',
      /:2:20: talos\.versions\[0\] is a number, not a version; write it in full, like v1\.13\.9/,
    ],
    [
      'a version that is none',
      'talos: {versions: [newest]}',
      /:2:20: talos\.versions\[0\] newest is neither a version nor a range/,
    ],
    [
      'versions that are no list',
      'talos: {versions: v1.13.9}',
      /:2:19: talos\.versions must be a list of versions, such as \[v1\.13\.9\]/,
    ],
    ['an empty list', 'talos: {versions: []}', /:2:19: talos\.versions must not be empty/],
    ['a section that is no mapping', 'omni: v1.10.4', /:2:7: omni must be a mapping with version/],
    ['a missing member', 'omni: {}', /:2:7: omni\.version is missing/],
    [
      'omni without kubernetes',
      'omni: {version: v1.10.4}',
      /:2:7: omni without kubernetes: .*add kubernetes: \{versions: \[v1\.36\.1\]\}/,
    ],
    [
      'kubernetes without talos',
      'kubernetes: {versions: [v1.36.1]}',
      /:2:13: kubernetes needs talos: \{versions/,
    ],
    [
      'a Talos version that the table does not have',
      'talos: {versions: [v1.99.0]}\nkubernetes: {versions: [v1.36.1]}',
      /:2:20: Talos v1\.99\.0 .*talosctl image k8s-bundle.*kubernetes: \{images: /,
    ],
    [
      'a list of images for a Talos version that is not wanted',
      'talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1], images: {v1.14.0: images.txt}}',
      /:3:53: v1\.14\.0 is not in talos\.versions/,
    ],
    [
      'a list of images for no version',
      'talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1], images: {v1.14: images.txt}}',
      /:3:51: v1\.14 is no version; write it like v1\.14\.0/,
    ],
    [
      'a list of images that is not there',
      'talos: {versions: [v1.13.9]}\nkubernetes: {versions: [v1.36.1], images: {v1.13.9: none.txt}}',
      /:3:53: none\.txt: no such file/,
    ],
    [
      'media without versions',
      `media: [{schematic: ${vanilla}, files: [kernel-amd64]}]`,
      /:2:9: media\[0\] needs versions, here or under talos/,
    ],
    [
      'media without files and installers',
      `media: [{schematic: ${vanilla}, versions: [v1.13.9]}]`,
      /:2:9: media\[0\] names neither files nor installers/,
    ],
    [
      'a file that is no medium',
      `media: [{schematic: ${vanilla}, versions: [v1.13.9], files: [metal.iso]}]`,
      /media\[0\]\.files\[0\] metal\.iso is no media file name, such as metal-amd64\.iso/,
    ],
    [
      'a file whose end is misspelt',
      `media: [{schematic: ${vanilla}, versions: [v1.13.9], files: [aws-amd64.raw.zx]}]`,
      /aws-amd64\.raw\.zx is no media file name; did you mean aws-amd64\.raw\.xz\?/,
    ],
    [
      'a file of an architecture that there is not',
      `media: [{schematic: ${vanilla}, versions: [v1.13.9], files: [kernel-amd65]}]`,
      /kernel-amd65 is no media file name; did you mean kernel-amd64\?/,
    ],
    [
      'media that is no list',
      'media: {schematic: {}}',
      /:2:8: media must be a list: begin each entry with "- "/,
    ],
    ['a version that was left out', 'omni: {version: }', /:2:17: omni\.version is empty, not a version/],
    [
      'an image as other tools name it',
      'images:\n  - name: ghcr.io/a/b:v1',
      /:3:5: images\[0\]\.name is not known here; known are image, tags, file, platforms/,
    ],
    ['a second document', 'images: [a/b:1]\n---\nimages: []', /:3:1: there is a second document; remove/],
    ['a key that is no text', '? [a]\n: b', /:2:3: a key must be plain text/],
    [
      'an installer that is no platform',
      `media: [{schematic: ${vanilla}, versions: [v1.13.9], installers: [Metal]}]`,
      /Metal is no platform, such as metal/,
    ],
    [
      'an ID in upper case',
      `media: [{schematic: ${vanilla.toUpperCase()}, versions: [v1.13.9], files: [kernel-amd64]}]`,
      /64 hex characters, in lower case/,
    ],
    [
      'a schematic file that is not there',
      'media: [{schematic: none.yaml, versions: [v1.13.9], files: [kernel-amd64]}]',
      /:2:21: none\.yaml: no such file, and no 64-hex schematic ID/,
    ],
    [
      'a schematic that the factory would not decode',
      'media: [{schematic: {customisation: {}}, versions: [v1.13.9], files: [kernel-amd64]}]',
      /:2:21: .*line 2: .*customisation/,
    ],
    [
      'an owner, which only the Enterprise edition takes',
      'media: [{schematic: {owner: me}, versions: [v1.13.9], files: [kernel-amd64]}]',
      /owner field is only supported in Enterprise edition/,
    ],
    [
      'two images in one entry',
      'images: [ghcr.io/a/b:v1 ghcr.io/a/c:v1]',
      /:2:10: a reference has no spaces: .*; put each image into an entry or line of its own/,
    ],
    [
      'a host in capitals',
      'images: [GHCR.io/a/b:v1]',
      /:2:10: bad registry host GHCR\.io \(hosts are written/,
    ],
    ['an image without tag', 'images: [ghcr.io/dexidp/dex]', /:2:10: no tag and no digest/],
    [
      'an image that is a URL, not repeated since it may hold a password',
      'images: ["https://me:hunter2@ghcr.io/dexidp/dex:v1"]',
      /:2:10: a reference has no scheme/,
    ],
    [
      'images that are no list',
      'images: ghcr.io/a/b:v1',
      /:2:9: images must be a list, such as \[ghcr\.io\/dexidp\/dex:v2\.41\.1\], or \{file: PATH\}/,
    ],
    ['a list whose path is a list', 'images: [{file: [a]}]', /images\[0\]\.file is a list, not a path/],
    ['one list that is not there', 'images: {file: none.txt}', /:2:9: none\.txt: no such file/],
    [
      'a slip in one list',
      'images: {fil: none.txt}',
      /:2:9: images\[0\]\.fil is not known here; did you mean file\?/,
    ],
    ['a list of images that is not there', 'images: [{file: none.txt}]', /:2:10: none\.txt: no such file/],
    ['standard input twice', 'images: [{file: -}, {file: -}]', /:2:21: standard input can be read once only/],
    [
      'an entry of both',
      'images: [{image: a/b:1, file: x}]',
      /:2:10: images\[0\] must name either an image or a file/,
    ],
    ['an entry of neither', 'images: [{platforms: [linux/arm64]}]', /:2:10: images\[0\] must name either/],
    ['an entry of a bad image', 'images: [{image: a/B:1}]', /:2:10: bad repository name/],
    [
      'an entry of a bad platform',
      'images: [{image: a/b:1, platforms: [arm64]}]',
      /images\[0\]\.platforms\[0\] arm64 is no platform; write it like linux\/amd64/,
    ],
    [
      'a platform without a slash',
      'platforms: [amd64]',
      /:2:13: platforms\[0\] amd64 is no platform; write it like linux\/amd64/,
    ],
    [
      'an extension list of the wrong type',
      'talos: {versions: [v1.13.9], imageFactory: {version: v1.5.0, extensions: some}}',
      /extensions must be a list of names, or all/,
    ],
    [
      'a system that is none',
      'talos: {versions: [v1.13.9], talosctl: [Linux]}',
      /Linux is no system, such as linux-amd64/,
    ],
    ['nothing asked for', 'talos: {versions: [v1.13.9]}', /asks for nothing; name omni/],
    ['an anchor (T27)', 'omni: &a {version: v1.10.4}', /anchors are not supported/],
    ['an alias (T27)', 'images: [*a]', /:2:/],
    ['a tag (T27)', 'images: [!!binary aGVsbG8=]', /:2:\d+: tag .* is not supported/],
    ['a tag that changes nothing (T27)', 'images: [!!str a/b:1]', /:2:16: tag .* is not supported/],
    ['a merge key (T27)', 'omni: {<<: {version: v1.10.4}}', /:2:/],
    ['a key twice (T27)', 'images: []\nimages: []', /:3:1: the key is there twice/],
    ['a tab for indentation', 'omni:\n\tversion: v1.10.4', /:3:/],
    [
      'F4 5000 levels of lists',
      `images:\n  ${'- '.repeat(5000)}a`,
      /^mirror\.yaml:3:\d+: nested deeper than 32 levels/,
    ],
    [
      'F4 5000 levels in the middle of a file',
      `omni: {version: v1.10.4}\nmedia:\n  ${'- '.repeat(5000)}schematic: {}\n    files: [metal-amd64.iso]\nkubernetes: {versions: [v1.36.1]}\n`,
      /^mirror\.yaml:4:\d+: nested deeper than 32 levels/,
    ],
    [
      'F4 a list of 250,000 entries',
      `images:\n${'- b\n'.repeat(250_000)}`,
      /^mirror\.yaml:\d+:\d+: more than 100000 YAML tokens/,
    ],
    [
      'U minor 9 more than one mistake: each by its place',
      'omni: {version: y}\nkubernetes: {versions: [1.36]}\nfoo: 1\n',
      /^mirror\.yaml:4:1: foo is not known here; .*; mirror\.yaml:2:17: omni\.version .*; mirror\.yaml:3:25: kubernetes\.versions\[0\] /,
    ],
    ['a hundred levels (T27)', `images: ${'['.repeat(100)}${']'.repeat(100)}`, /nested deeper/],
  ])('%s', async (_what, text, message) => {
    const error = await parse(text).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code: 'CONFIG', message: expect.stringMatching(message) });
    expect(String(error)).not.toContain('hunter2');
  });

  test('a line of a list of images, by file, line and column', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'images.txt'), 'ghcr.io/a/b:v1\n\n  ghcr.io/A/b:v1\n');
    const path = join(folder, 'mirror.yaml');
    await writeFile(path, `${head}images: [{file: images.txt}]\n`);
    await expect(readMirror(path)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/images\.txt:3:3: bad repository name .*lower case/),
    });
  });

  test('a file larger than any mirror.yaml (T27)', async () => {
    await expect(parse(`# ${'x'.repeat(1024 * 1024)}`)).rejects.toMatchObject({ code: 'CONFIG' });
  });

  test('a mirror.yaml that is not there', async () => {
    await expect(readMirror(join(await temporaryFolder(), 'mirror.yaml'))).rejects.toMatchObject({
      code: 'NO_INPUT',
      message: expect.stringContaining('omni-airgap init'),
    });
  });
});
