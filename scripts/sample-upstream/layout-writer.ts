/**
 * Writes an OCI image layout by the specification alone, without the product's own store, so that a mistake there
 * cannot hide itself here.
 * Source: image-spec v1.1.1 image-layout.md.
 */
import { createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export class LayoutWriter {
  readonly #root: string;
  readonly #blobs: string;
  readonly #names = new Map<string, Blob>();
  #counter = 0;

  private constructor(root: string) {
    this.#root = root;
    this.#blobs = join(root, 'blobs', 'sha256');
  }

  /** Opens what is there, or begins a new layout. */
  static async open(root: string): Promise<LayoutWriter> {
    const writer = new LayoutWriter(root);
    await mkdir(writer.#blobs, { recursive: true });
    const index = await readFile(join(root, 'index.json'), 'utf8').catch(() => '{"manifests":[]}');
    for (const { annotations, ...blob } of (JSON.parse(index) as { manifests: Blob[] }).manifests) {
      const name = annotations?.['org.opencontainers.image.ref.name'];
      if (name !== undefined) writer.#names.set(name, blob);
    }
    return writer;
  }

  async blob(mediaType: string, bytes: Uint8Array): Promise<Blob> {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(this.#blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.byteLength };
  }

  /** A gzip'd layer, streamed. @returns also the digest of the bytes before compression */
  async layer(mediaType: string, bytes: Iterable<Uint8Array>): Promise<Blob & { readonly diffId: string }> {
    const temporary = join(this.#root, `layer-${this.#counter++}.tmp`);
    const plain = new Counter();
    const packed = new Counter();
    // Level 1: the sample is to be there soon, not small.
    await pipeline(
      Readable.from(bytes),
      plain,
      createGzip({ level: 1 }),
      packed,
      createWriteStream(temporary),
    );
    const hex = packed.hash.digest('hex');
    await rename(temporary, join(this.#blobs, hex));
    const diffId = `sha256:${plain.hash.digest('hex')}`;
    return { mediaType, digest: `sha256:${hex}`, size: packed.size, diffId };
  }

  name(reference: string, blob: Blob): void {
    this.#names.set(reference, blob);
  }

  /** Writes the index; what was named before it is in. */
  async finish(): Promise<void> {
    const manifests = [...this.#names]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { mediaType, digest, size }]) => ({
        mediaType,
        digest,
        size,
        annotations: { 'org.opencontainers.image.ref.name': name },
      }));
    await writeFile(join(this.#root, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    await writeFile(join(this.#root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }
}

class Counter extends Transform {
  readonly hash: Hash = createHash('sha256');
  size = 0;

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.hash.update(chunk);
    this.size += chunk.byteLength;
    done(null, chunk);
  }
}
