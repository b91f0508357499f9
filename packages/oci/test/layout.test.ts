import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Layout } from '../src/layout/layout.ts';
import { openerOf } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import { hexOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { OpenBytes } from '../src/storage.ts';
import { generatedBlob, generatedBytes } from '../src/testing/generated-blob.ts';
import { buildManifest } from '../src/testing/graph.ts';
import { run } from '../src/testing/run.ts';
import { makeWritable, partsOf, temporaryFolder, temporaryLayout } from '../src/testing/temporary.ts';

async function putImage(layout: Layout, text: string, members: object = {}): Promise<Descriptor> {
  const config = Buffer.from(text);
  const configDescriptor = descriptorOf(MediaType.ociConfig, config);
  await layout.push(configDescriptor, openerOf(config));
  const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
    config: configDescriptor,
    layers: [],
    ...members,
  });
  await layout.push(descriptor, openerOf(bytes));
  return descriptor;
}

const indexOf = async (layout: Layout): Promise<string> => readFile(join(layout.root, 'index.json'), 'utf8');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('content', () => {
  test('T13 is under its name only when all of it is there and right', async () => {
    const layout = await temporaryLayout();
    const { descriptor, open } = await generatedBlob(1, 1_500_000);
    const folder = join(layout.root, 'blobs', 'sha256');
    for (const bytes of [generatedBytes(2, 1_500_000), generatedBytes(1, 1_499_999), open]) {
      const watched: OpenBytes = async function* (offset) {
        for await (const chunk of bytes(offset)) {
          expect(await readdir(folder)).toEqual([]);
          yield chunk;
        }
        expect(await readdir(folder)).toEqual([]);
      };
      const result = await layout.push(descriptor, watched).catch((error: unknown) => error);
      if (bytes === open) expect(result).toBe('stored');
      else expect(result).toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
    expect(await readdir(folder)).toEqual([hexOf(descriptor.digest)]);
    expect(await partsOf(layout)).toEqual([]);
  });

  test('is read-only and a plain file', async () => {
    const layout = await temporaryLayout();
    const { descriptor, open } = await generatedBlob(1, 10);
    await layout.push(descriptor, open);
    const info = await lstat(layout.pathOf(descriptor.digest));
    expect([info.mode & 0o777, info.nlink, info.isFile()]).toEqual([0o444, 1, true]);
  });

  test('whose file was cut or replaced by a link is not there, and is stored again', async () => {
    const layout = await temporaryLayout();
    const { descriptor, open } = await generatedBlob(1, 5000);
    const path = layout.pathOf(descriptor.digest);
    await layout.push(descriptor, open);
    await truncate(await makeWritable(path), 100);
    expect(await layout.has(descriptor)).toBe(false);
    expect(await layout.push(descriptor, open)).toBe('stored');
    await rm(path);
    const outside = join(await temporaryFolder(), 'outside');
    await writeFile(outside, 'x'.repeat(5000));
    await symlink(outside, path);
    expect(await layout.locate(descriptor)).toBeUndefined();
    expect(await layout.push(descriptor, open)).toBe('stored');
    expect(sha256(await readFile(path))).toBe(hexOf(descriptor.digest));
    expect(await readFile(outside, 'utf8')).toBe('x'.repeat(5000));
  });

  test('F05 a name of unknown digest gets it from the bytes', async () => {
    const layout = await temporaryLayout();
    const { descriptor, open } = await generatedBlob(1, 700_000);
    const options = { mediaType: MediaType.octetStream, key: 'https://x/a.iso', maxSize: 700_000 };
    expect(await layout.ingest(open, options)).toEqual(descriptor);
    expect(await layout.has(descriptor)).toBe(true);
    const tooLong = layout.ingest(generatedBytes(2, 700_001), { ...options, key: 'https://x/b.iso' });
    await expect(tooLong).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: 'https://x/b.iso: more than 700000 bytes',
    });
    expect(await partsOf(layout)).toEqual([]);
  });
});

describe('names', () => {
  test('are in an index.json of one canonical form, and survive', async () => {
    const layout = await temporaryLayout();
    const [a, b] = [await putImage(layout, 'a'), await putImage(layout, 'b')];
    await layout.tag(b, 'ghcr.io/x/b:1');
    await layout.tag({ ...a, annotations: { lost: 'yes' } }, 'ghcr.io/x/a:1');
    await layout.tag(a, 'ghcr.io/x/gone:1');
    await layout.untag('ghcr.io/x/gone:1');
    const entry = (d: Descriptor, name: string): object => ({
      ...d,
      annotations: { 'org.opencontainers.image.ref.name': name },
    });
    expect(await indexOf(layout)).toBe(
      `${JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.ociIndex,
        manifests: [entry(a, 'ghcr.io/x/a:1'), entry(b, 'ghcr.io/x/b:1')],
      })}\n`,
    );
    expect(await readFile(join(layout.root, 'oci-layout'), 'utf8')).toBe('{"imageLayoutVersion":"1.0.0"}');
    const again = await Layout.open(layout.root);
    expect(await again.resolve('ghcr.io/x/a:1')).toEqual(a);
    expect(await again.resolve('ghcr.io/x/gone:1')).toBeUndefined();
  });

  test('of another tool are kept, entries without a name go by their digest', async () => {
    const layout = await temporaryLayout();
    const [a, b] = [await putImage(layout, 'a'), await putImage(layout, 'b')];
    const foreign = {
      schemaVersion: 2,
      manifests: [
        { ...b, platform: { os: 'linux', architecture: 'amd64' } },
        { ...a, annotations: { 'org.opencontainers.image.ref.name': 'latest', other: 'x' } },
      ],
      annotations: { made: 'elsewhere' },
    };
    await writeFile(join(layout.root, 'index.json'), JSON.stringify(foreign, undefined, 3));
    const opened = await Layout.open(layout.root, { create: true });
    expect(await opened.resolve(`@${b.digest}`)).toEqual(b);
    await opened.tag(a, 'new');
    const written = JSON.parse(await indexOf(layout)) as { manifests: unknown[] };
    expect(written.manifests).toContainEqual(b);
    expect(written.manifests).toHaveLength(3);
    expect(await (await Layout.open(layout.root)).resolve('latest')).toEqual(a);
  });

  test('of two that have it open are kept, whoever writes next', async () => {
    const one = await temporaryLayout();
    const other = await Layout.open(one.root);
    const image = await putImage(one, '{}');
    for (const [layout, name] of [
      [one, 'acme/a:1'],
      [other, 'acme/b:1'],
      [one, 'acme/c:1'],
      [one, 'acme/d:1'],
      [other, 'acme/e:1'],
    ] as const)
      await layout.tag(image, name);
    const names: string[] = [];
    for await (const [name] of (await Layout.open(one.root)).names()) names.push(name);
    expect(names).toEqual(['a', 'b', 'c', 'd', 'e'].map((letter) => `acme/${letter}:1`));
  });

  test('that are set at the same time are written together', async () => {
    const layout = await temporaryLayout();
    const image = await putImage(layout, '{}');
    const files = new Set<bigint>();
    const tag = async (i: number): Promise<void> => {
      await layout.tag(image, `acme/app:${i}`);
      files.add((await lstat(join(layout.root, 'index.json'), { bigint: true })).mtimeNs);
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => tag(i)));
    expect(files.size).toBeLessThan(10);
  });

  test('that could not be written are not there, and can be given again', async () => {
    const layout = await temporaryLayout();
    const image = await putImage(layout, 'a');
    const index = join(layout.root, 'index.json');
    const before = await indexOf(layout);
    await rm(index);
    await mkdir(index);
    await expect(layout.tag(image, 'v1')).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    expect(await layout.resolve('v1')).toBeUndefined();
    await rm(index, { recursive: true });
    await writeFile(index, before);
    await layout.tag(image, 'v1');
    expect(await (await Layout.open(layout.root)).resolve('v1')).toEqual(image);
    expect(await readdir(layout.root)).not.toContain('index.json.lock');
  });

  test('C1 stand for manifests only, and what an earlier version named otherwise is removed', async () => {
    const layout = await temporaryLayout();
    const image = await putImage(layout, 'a');
    const page = descriptorOf('text/html', Buffer.from('<html>'));
    await layout.push(page, openerOf(Buffer.from('<html>')));
    const before = await indexOf(layout);
    await expect(layout.tag(page, 'v1')).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    expect(await indexOf(layout)).toBe(before);
    await layout.tag(image, 'v2');
    const right = await indexOf(layout);
    const wrong = `{"mediaType":"text/html","digest":"${page.digest}","size":6,"annotations":{"org.opencontainers.image.ref.name":"v1"}}`;
    await writeFile(
      join(layout.root, 'index.json'),
      right.replace('"manifests":[', `"manifests":[${wrong},`),
    );
    await expect(Layout.open(layout.root)).rejects.toMatchObject({ code: 'BAD_DOCUMENT', descriptor: page });
    expect([...(await Layout.removeForeignNames(layout.root)).keys()]).toEqual(['v1']);
    expect(await indexOf(layout)).toBe(right);
    expect((await Layout.removeForeignNames(layout.root)).size).toBe(0);
  });

  test('referrers are the named manifests with that subject', async () => {
    const layout = await temporaryLayout();
    const image = await putImage(layout, 'a');
    const annotations = { made: 'now' };
    const signature = await putImage(layout, 'b', {
      subject: image,
      artifactType: 'a/signature',
      annotations,
    });
    const other = await putImage(layout, 'c', { subject: image });
    await layout.tag(image, 'v1');
    await layout.tag(signature, 'sig');
    await layout.tag(signature, 'sig-again');
    expect(await layout.referrers(image.digest)).toEqual([
      { ...signature, artifactType: 'a/signature', annotations },
    ]);
    await layout.tag(other, 'other');
    const found = await layout.referrers(image.digest);
    expect(found.map((d) => d.digest).sort()).toEqual([other.digest, signature.digest].sort());
    expect(found.find((d) => d.digest === other.digest)?.artifactType).toBe(MediaType.ociConfig);
    expect(await layout.referrers(signature.digest)).toEqual([]);
  });
});

describe('opening', () => {
  test('a folder without a layout is no input, unless it is to be made', async () => {
    const folder = await temporaryFolder();
    await expect(Layout.open(folder)).rejects.toMatchObject({ code: 'NO_INPUT' });
    await expect(Layout.open(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'NO_INPUT' });
    expect(await readdir(folder)).toEqual([]);
    const layout = await Layout.open(join(folder, 'a', 'b'), { create: true });
    expect(await (await Layout.open(layout.root)).resolve('x')).toBeUndefined();
  });

  test('a layout that lost its index.json is no input', async () => {
    const layout = await temporaryLayout();
    await rm(join(layout.root, 'index.json'));
    await expect(Layout.open(layout.root)).rejects.toMatchObject({ code: 'NO_INPUT' });
  });

  test.each([
    ['oci-layout', '{"imageLayoutVersion":"2.0.0"}'],
    ['oci-layout', '{}'],
    ['index.json', ''],
    ['index.json', '[]'],
    ['index.json', '{"schemaVersion":2}'],
    ['index.json', '{"schemaVersion":1,"manifests":[]}'],
    ['index.json', '{"schemaVersion":2,"manifests":[{}]}'],
    ['index.json', '{"schemaVersion":2,"schemaVersion":2,"manifests":[]}'],
    [
      'index.json',
      JSON.stringify({ schemaVersion: 2, manifests: [descriptorOf('text/plain', Buffer.from('x'))] }),
    ],
    [
      'index.json',
      JSON.stringify({
        schemaVersion: 2,
        manifests: [1, 2].map((n) => ({
          ...descriptorOf(MediaType.ociManifest, Buffer.from(`${n}`)),
          annotations: { 'org.opencontainers.image.ref.name': 'a\u001b[2J' },
        })),
      }),
    ],
  ])('a %s of %j is refused', async (file, text) => {
    const layout = await temporaryLayout();
    await writeFile(join(layout.root, file), text);
    const error = await Layout.open(layout.root).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'BAD_DOCUMENT' });
    expect(String(error)).not.toContain('\u001b');
  });

  test.each(['index.json', 'oci-layout'])('T48 a FIFO as %s does not hang it', async (file) => {
    const layout = await temporaryLayout();
    const path = join(layout.root, file);
    await rm(path);
    run('mkfifo', [path]);
    await expect(Layout.open(layout.root)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  });

  test.each(['blobs', 'blobs/sha256', 'ingest'])('T48 a link in place of %s is refused', async (folder) => {
    const layout = await temporaryLayout();
    const elsewhere = await temporaryFolder();
    await mkdir(join(elsewhere, 'sha256'));
    await rm(join(layout.root, folder), { recursive: true });
    await symlink(elsewhere, join(layout.root, folder));
    await expect(Layout.open(layout.root, { create: true })).rejects.toMatchObject({
      code: 'DISK',
      message: expect.stringContaining('must be a real folder'),
    });
    expect(await readdir(join(elsewhere, 'sha256'))).toEqual([]);
  });

  test('T48 a link in place of a new store, or a file, is refused', async () => {
    const folder = await temporaryFolder();
    await symlink(await temporaryFolder(), join(folder, 'link'));
    await symlink(join(folder, 'nowhere'), join(folder, 'dangling'));
    await writeFile(join(folder, 'file'), '');
    for (const name of ['link', 'dangling', 'file', 'file/below']) {
      const opening = Layout.open(join(folder, name), { create: true });
      await expect(opening).rejects.toMatchObject({ code: 'DISK' });
    }
  });
});
