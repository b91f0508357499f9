/** Images for the sample: an index for two architectures, a few layers each with real-looking trees, signed. */

import type { Blob, LayoutWriter } from './layout-writer.ts';
import { Random } from './random.ts';
import { type SigningKey, simpleSigningPayload } from './signing-key.ts';
import { fullSize, type SampleFile, type SampleImage } from './versions.ts';

const mebibyte = 1024 * 1024;
const created = '2026-08-01T00:00:00Z';
const architectures = ['amd64', 'arm64'] as const;

const types = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const;

export interface ImageContext {
  readonly layout: LayoutWriter;
  readonly seed: number;
  readonly sizeMiB: number;
  readonly key: SigningKey;
}

/** Text files that an image has besides its program, by path. */
type TextFiles = Readonly<Record<string, string>>;

/** Makes the image, names it, signs it. @returns its index */
export async function makeImage(
  context: ImageContext,
  image: SampleImage,
  text: TextFiles = {},
): Promise<Blob> {
  const { layout, seed } = context;
  const { reference, program, files } = image;
  const type = image.docker === true ? types.docker : types.oci;
  const bytesOf = (share: number): number =>
    Math.max(2048, Math.round((share * mebibyte * context.sizeMiB) / fullSize));
  const size = bytesOf(image.share);
  const manifests: Blob[] = [];
  for (const architecture of architectures) {
    const base = new Random(seed, 'base', architecture);
    const own = new Random(seed, reference, architecture);
    const layers = [
      // The same in every image of a publisher, so that it is there once.
      await layout.layer(
        type.layer,
        tar(baseTree(base, Math.max(1024, Math.round((mebibyte * context.sizeMiB) / fullSize)))),
      ),
      await layout.layer(type.layer, tar(libraryTree(own, Math.round(size * 0.5)))),
      await layout.layer(
        type.layer,
        tar(files === undefined ? programTree(own, program, size, text) : fileTree(own, files, bytesOf)),
      ),
    ];
    const config = await layout.blob(
      type.config,
      json({
        created,
        architecture,
        os: 'linux',
        config: { Entrypoint: [`/usr/local/bin/${program}`], Env: ['PATH=/usr/local/bin:/usr/bin:/bin'] },
        rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
        history: layers.map((_, i) => ({ created, created_by: `sample layer ${i + 1} of ${reference}` })),
      }),
    );
    const manifest = await layout.blob(
      type.manifest,
      json({
        schemaVersion: 2,
        mediaType: type.manifest,
        config,
        layers: layers.map(({ diffId: _, ...layer }) => layer),
      }),
    );
    manifests.push({ ...manifest, platform: { os: 'linux', architecture } });
  }
  const index = await layout.blob(type.index, json({ schemaVersion: 2, mediaType: type.index, manifests }));
  layout.name(reference, index);
  await sign(context, reference, index);
  return index;
}

/** As cosign 2 does it: an image at the tag `sha256-<hex>.sig`, its layer the signed payload. */
async function sign({ layout, key }: ImageContext, reference: string, image: Blob): Promise<void> {
  const repository = reference.slice(0, reference.lastIndexOf(':'));
  const payload = simpleSigningPayload(repository, image.digest);
  const layer = await layout.blob('application/vnd.dev.cosign.simplesigning.v1+json', payload);
  const config = await layout.blob(
    types.oci.config,
    json({
      architecture: '',
      os: '',
      created: '0001-01-01T00:00:00Z',
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );
  const annotations = { 'dev.cosignproject.cosign/signature': key.sign(payload).toString('base64') };
  const manifest = json({
    schemaVersion: 2,
    mediaType: types.oci.manifest,
    config,
    layers: [{ ...layer, annotations }],
  });
  layout.name(
    `${repository}:${image.digest.replace(':', '-')}.sig`,
    await layout.blob(types.oci.manifest, manifest),
  );
}

function* baseTree(random: Random, size: number): Generator<TarFile> {
  yield textFile(
    'etc/passwd',
    'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n',
  );
  yield textFile('etc/os-release', 'NAME="Sample"\nID=sample\nVERSION_ID=1\n');
  yield randomFile('etc/ssl/certs/ca-certificates.crt', random, Math.round(size * 0.2));
  for (let i = 0; i < 24; i++) {
    yield randomFile(`usr/share/zoneinfo/Area${i % 6}/Zone${i}`, random, 200 + random.below(3000));
  }
  yield randomFile('usr/lib/libc.so.6', random, Math.round(size * 0.8));
}

function* libraryTree(random: Random, size: number): Generator<TarFile> {
  const count = 6 + random.below(12);
  for (let i = 0; i < count; i++) {
    yield randomFile(`usr/lib/lib${i}.so.${random.below(9)}`, random, Math.round(size / count), 0o755);
  }
}

function* programTree(random: Random, program: string, size: number, text: TextFiles): Generator<TarFile> {
  for (const [path, content] of Object.entries(text)) yield textFile(path, content);
  yield randomFile(`usr/local/bin/${program}`, random, size, 0o755);
  yield textFile(`usr/share/doc/${program}/README`, `${program}: sample content, not the program itself.\n`);
}

function* fileTree(
  random: Random,
  files: readonly SampleFile[],
  bytesOf: (share: number) => number,
): Generator<TarFile> {
  for (const { path, share, magic } of files) {
    const size = bytesOf(share);
    const content = randomFile(path, random, size - magic.byteLength, 0o755);
    yield { ...content, size, chunks: () => concatenated(magic, content.chunks()) };
  }
}

function* concatenated(first: Buffer, rest: Iterable<Uint8Array>): Generator<Uint8Array> {
  yield first;
  yield* rest;
}

function randomFile(path: string, random: Random, size: number, mode = 0o644): TarFile {
  return { path, size, mode, chunks: () => random.mixed(size) };
}

function textFile(path: string, text: string): TarFile {
  const bytes = Buffer.from(text);
  return { path, size: bytes.byteLength, chunks: () => [bytes] };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

interface TarFile {
  /** Relative path without a leading slash; folders on the way are added. */
  readonly path: string;
  readonly size: number;
  readonly mode?: number;
  readonly chunks: () => Iterable<Uint8Array>;
}

const block = 512;
const mtime = 1_754_000_000;

/** Tar streams for image layers: folders and files, all of one time, owned by root. Source: POSIX.1-1988 ustar. */
function* tar(files: Iterable<TarFile>): Generator<Uint8Array> {
  const folders = new Set<string>();
  for (const { path, size, mode = 0o644, chunks } of files) {
    const parts = path.split('/');
    for (let i = 1; i < parts.length; i++) {
      const folder = `${parts.slice(0, i).join('/')}/`;
      if (!folders.has(folder)) yield header(folder, 0, 0o755, '5');
      folders.add(folder);
    }
    yield header(path, size, mode, '0');
    yield* chunks();
    if (size % block !== 0) yield Buffer.alloc(block - (size % block));
  }
  yield Buffer.alloc(2 * block);
}

function header(path: string, size: number, mode: number, type: string): Buffer {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;
  bytes.write(path, 0, 100, 'latin1');
  bytes.write(octal(mode, 8), 100);
  bytes.write(octal(0, 8), 108);
  bytes.write(octal(0, 8), 116);
  bytes.write(octal(size, 12), 124);
  bytes.write(octal(mtime, 12), 136);
  bytes.write('        ', 148);
  bytes.write(type, 156);
  bytes.write('ustar\x0000', 257);
  bytes.write('root', 265);
  bytes.write('root', 297);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}
