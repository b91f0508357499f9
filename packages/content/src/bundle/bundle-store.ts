/**
 * An opened bundle: read-only storage straight from the volumes, by offset. Nothing is unpacked and no tar header
 * is trusted; opening checks bundle.json, its signature and the presence of every volume, `verifyBundle` the bytes.
 */
import type { KeyObject } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { byText } from '../by-text.ts';
import type { Descriptor } from '../descriptor.ts';
import type { Digest } from '../digest.ts';
import {
  type BundleDocument,
  maxBundleDocumentBytes,
  parseBundleDocument,
} from '../documents/bundle-document.ts';
import { CodedError, systemCodeOf } from '../errors.ts';
import { diskError } from '../fs/disk-error.ts';
import { readSmallFile } from '../fs/files.ts';
import { readPieces, slicePieces } from '../fs/pieces.ts';
import type {
  Bytes,
  Located,
  NameLister,
  Piece,
  RangeFetcher,
  ReadOnlyStorage,
  Resolver,
} from '../storage.ts';
import { bundleIdOf } from './bundle-id.ts';
import { fingerprintOf, verifyBytes } from './signature.ts';
import { VolumeMap, volumeName } from './volume-map.ts';

/** Who is believed about what a bundle is. */
export type BundleTrust =
  | { readonly mode: 'signed'; readonly key: KeyObject }
  /** The bundle is read whoever made it; the digests still hold. */
  | { readonly mode: 'any' };

export type BundleSigner = { readonly mode: 'signed'; readonly key: string } | { readonly mode: 'unsigned' };

export class BundleStore implements ReadOnlyStorage, RangeFetcher, Resolver, NameLister, Located {
  readonly document: BundleDocument;
  /** Whose signature was checked, by the key's fingerprint. */
  readonly signer: BundleSigner;
  readonly map: VolumeMap;
  readonly #names: ReadonlyMap<string, Descriptor>;
  readonly #paths: readonly string[];

  private constructor(
    document: BundleDocument,
    signer: BundleSigner,
    map: VolumeMap,
    names: ReadonlyMap<string, Descriptor>,
    paths: readonly string[],
  ) {
    this.document = document;
    this.signer = signer;
    this.map = map;
    this.#names = names;
    this.#paths = paths;
  }

  /**
   * @param folders where the media are mounted; one bundle may be spread over several
   * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME (missing or of the wrong size), DISK
   */
  static async open(folders: readonly string[], trust: BundleTrust): Promise<BundleStore> {
    const bytes = await readDocument(folders);
    const signer = await checkSignature(folders, bytes, trust);
    const document = parseBundleDocument(bytes);
    const roots = [...document.roots].sort((a, b) => byText(a.name, b.name));
    const names = new Map(roots.map((root) => [root.name, root.descriptor]));
    if (names.size !== document.roots.length)
      throw new CodedError('BAD_DOCUMENT', 'bundle.json: a name stands twice');
    const sizes = document.volumes.map((volume) => volume.size);
    for (const [i, { name }] of document.volumes.entries()) {
      if (name !== volumeName(i))
        throw new CodedError('BAD_DOCUMENT', `bundle.json: volume ${i} is not called ${name}`);
    }
    if (bundleIdOf(document.volumes) !== document.id) {
      throw new CodedError('BAD_DOCUMENT', 'bundle.json: id is not that of its volume list');
    }
    const map = new VolumeMap(names, { blobs: document.blobs, sizes });
    const paths = [];
    for (const volume of document.volumes) paths.push(await findVolume(folders, volume));
    return new BundleStore(document, signer, map, names, paths);
  }

  /** Path of a volume. */
  volumePath(volume: number): string {
    const path = this.#paths[volume];
    if (path === undefined) throw new CodedError('INTERNAL', `volume ${volume} does not exist`);
    return path;
  }

  async stat(digest: Digest): Promise<number | undefined> {
    return this.map.place(digest)?.size;
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return this.map.place(descriptor.digest)?.size === descriptor.size;
  }

  async locate(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<readonly Piece[] | undefined> {
    const place = this.map.place(descriptor.digest);
    if (place === undefined || place.size !== descriptor.size) return undefined;
    return this.map
      .runsOf(place)
      .map(({ volume, offset, size }) => ({ path: this.volumePath(volume), offset, size }));
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.fetchFrom(descriptor, 0, signal);
  }

  async *fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    const pieces = await this.locate(descriptor);
    if (pieces === undefined) {
      throw new CodedError('MISSING_CONTENT', `${descriptor.digest}: not in this bundle`, { descriptor });
    }
    yield* readPieces(slicePieces(pieces, offset), signal);
  }

  async resolve(name: string): Promise<Descriptor | undefined> {
    return this.#names.get(name);
  }

  async *names(): AsyncIterable<readonly [string, Descriptor]> {
    yield* this.#names;
  }
}

async function readDocument(folders: readonly string[]): Promise<Uint8Array> {
  let first: { readonly bytes: Uint8Array; readonly folder: string } | undefined;
  for (const folder of folders) {
    const bytes = await readSmallFile(join(folder, 'bundle.json'), maxBundleDocumentBytes);
    if (bytes === undefined) {
      throw new CodedError('NO_INPUT', `${folder}: no bundle here (there is no file bundle.json)`);
    }
    first ??= { bytes, folder };
    if (Buffer.compare(first.bytes, bytes) !== 0) {
      throw new CodedError('BAD_VOLUME', `${folder}: belongs to another bundle than ${first.folder}`);
    }
  }
  if (first === undefined) throw new CodedError('USAGE', 'no bundle folder given; use --bundle DIR');
  return first.bytes;
}

async function checkSignature(
  folders: readonly string[],
  bytes: Uint8Array,
  trust: BundleTrust,
): Promise<BundleSigner> {
  if (trust.mode === 'any') return { mode: 'unsigned' };
  const path = join(folders[0] ?? '', 'bundle.json.sig');
  const signature = await readSmallFile(path, 4096);
  if (signature === undefined) {
    throw new CodedError(
      'UNSIGNED',
      `${path}: missing, so nobody vouches for this bundle; sign it with bundle --sign-key`,
    );
  }
  verifyBytes(bytes, Buffer.from(signature).toString('latin1'), trust.key, path);
  return { mode: 'signed', key: fingerprintOf(trust.key) };
}

async function findVolume(
  folders: readonly string[],
  volume: { readonly name: string; readonly size: number; readonly sha256: string },
): Promise<string> {
  for (const folder of folders) {
    const path = join(folder, volume.name);
    try {
      const info = await lstat(path);
      if (!info.isFile()) throw new CodedError('BAD_VOLUME', `${path}: not a regular file`);
      if (info.size === volume.size) return path;
      throw new CodedError(
        'BAD_VOLUME',
        `${path}: ${info.size} bytes instead of ${volume.size}; copy it again`,
      );
    } catch (error) {
      if (error instanceof CodedError || systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
    }
  }
  throw new CodedError(
    'BAD_VOLUME',
    `volume ${volume.name} (sha256 ${volume.sha256}) is in none of the given folders; add its medium with another --bundle`,
  );
}
