/**
 * An opened bundle: read-only storage straight from the volumes, by offset. Nothing is unpacked and no tar header
 * is trusted; opening checks bundle.json, its signature and the presence of every volume, `verifyBundle` the bytes.
 */

import { createHash, type KeyObject } from 'node:crypto';
import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type {
  Bytes,
  Located,
  NameLister,
  Piece,
  RangeFetcher,
  ReadOnlyStorage,
  Resolver,
} from '@omni-airgap/oci';
import { byText, CodedError, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, fetchLocated, readSmallFile } from '@omni-airgap/oci/fs';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import {
  type BundleDocument,
  bundleIdOf,
  documentName,
  maxBundleDocumentBytes,
  parseBundleDocument,
  signatureName,
  sigstoreName,
} from './documents/bundle-document.ts';
import { fingerprintOf, maxSignatureBytes, verifyBytes } from './signature.ts';
import { checkSigstoreBundle, maxSigstoreBytes } from './sigstore-bundle.ts';
import { mapOf, type VolumeMap, volumeName, volumePrefix } from './volumes/volume-map.ts';

/** Who is believed about what a bundle is. */
export type BundleTrust =
  /** Any of the keys: bundles of a chain may have been signed by one after another. */
  | { readonly mode: 'signed'; readonly keys: readonly KeyObject[] }
  /** The bundle is read whoever made it; the digests still hold. */
  | { readonly mode: 'any' };

export type BundleSigner =
  /** Fingerprint of the key that its signature was checked with. */
  | { readonly mode: 'signed'; readonly key: string }
  /** Nobody asked: the bundle may have a signature all the same. */
  | { readonly mode: 'unsigned' };

interface OpenBundleOptions {
  /**
   * `all` (the default): every volume must be there, with its size. `present`: those that are there are used; one
   * medium of several, or one that is damaged, can be looked at.
   */
  readonly volumes?: 'all' | 'present';
}

/** A volume that cannot be used as it is. */
interface VolumeProblem {
  readonly volume: number;
  /** Bytes its file has; undefined when it is in none of the folders. */
  readonly size: number | undefined;
}

export class BundleStore implements ReadOnlyStorage, RangeFetcher, Resolver, NameLister, Located {
  readonly document: BundleDocument;
  /** Where its media are. */
  readonly folders: readonly string[];
  /** Whose signature was checked, by the key's fingerprint. */
  readonly signer: BundleSigner;
  readonly map: VolumeMap;
  /** Volumes that are not there or not of their size; empty unless it was opened with `volumes: 'present'`. */
  readonly problems: readonly VolumeProblem[];
  readonly #names: ReadonlyMap<string, Descriptor>;
  readonly #paths: readonly (string | undefined)[];
  readonly #relied: ReadonlyMap<Digest, number>;

  private constructor(
    document: BundleDocument,
    folders: readonly string[],
    signer: BundleSigner,
    map: VolumeMap,
    names: ReadonlyMap<string, Descriptor>,
    found: readonly FoundVolume[],
  ) {
    this.document = document;
    this.folders = folders;
    this.signer = signer;
    this.map = map;
    this.#names = names;
    this.#paths = found.map(({ path }) => path);
    this.problems = found.flatMap(({ path, size }, volume) =>
      path !== undefined && size === map.sizes[volume] ? [] : [{ volume, size }],
    );
    this.#relied = reliedOf(document);
  }

  /**
   * @param folders where the media are mounted; one bundle may be spread over several
   * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, BAD_VOLUME (missing, of the wrong size, or one
   * too many), DISK
   */
  static async open(
    folders: readonly string[],
    trust: BundleTrust,
    options: OpenBundleOptions = {},
  ): Promise<BundleStore> {
    const bytes = await readDocument(folders);
    const signatures = await readSignatures(folders);
    const signer = checkSignatures(signatures, folders, bytes, trust);
    const document = parseBundleDocument(bytes);
    // After what says more about a changed bundle.json: the signature, and whether it can be read at all.
    for (const { text, twin } of signatures) {
      if (twin !== undefined) checkSigstoreBundle(twin.bytes, bytes, text, twin.path);
    }
    const roots = [...document.roots].sort((a, b) => byText(a.name, b.name));
    const names = new Map(roots.map((root) => [root.name, root.descriptor]));
    if (names.size !== document.roots.length)
      throw new CodedError('BAD_DOCUMENT', 'bundle.json: a name stands twice');
    for (const [i, { name }] of document.volumes.entries()) {
      if (name !== volumeName(i))
        throw new CodedError('BAD_DOCUMENT', `bundle.json: volume ${i} is not called ${name}`);
    }
    if (bundleIdOf(document.volumes) !== document.id) {
      throw new CodedError('BAD_DOCUMENT', 'bundle.json: id is not that of its volume list');
    }
    const map = mapOf(document);
    for (const folder of folders) await refuseStrangers(folder, document);
    const found: FoundVolume[] = [];
    for (const volume of document.volumes) {
      const place = await findVolume(folders, volume.name);
      if (options.volumes !== 'present') requireWhole(place, volume);
      found.push(place);
    }
    return new BundleStore(document, folders, signer, map, names, found);
  }

  /** Path of a volume. @throws BAD_VOLUME when it is in none of the folders */
  volumePath(volume: number): string {
    const path = this.#paths[volume];
    const named = this.document.volumes[volume];
    if (named === undefined) throw new CodedError('INTERNAL', `volume ${volume} does not exist`);
    if (path === undefined) throw notHere(named);
    return path;
  }

  /** True when the content is not carried because a base brought it: it lies at the site already. */
  reliesOn(descriptor: Pick<Descriptor, 'digest' | 'size'>): boolean {
    return this.#relied.get(descriptor.digest) === descriptor.size;
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

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return fetchLocated(this, descriptor, offset, 'this bundle', signal);
  }

  async resolve(name: string): Promise<Descriptor | undefined> {
    return this.#names.get(name);
  }

  async *names(): AsyncIterable<readonly [string, Descriptor]> {
    yield* this.#names;
  }
}

/** @throws NO_INPUT with what was named in place of a bundle */
async function readDocumentIn(folder: string): Promise<Uint8Array> {
  const isFile = (path: string): Promise<boolean> =>
    stat(path).then(
      (found) => found.isFile(),
      () => false,
    );
  const said = (what: string): CodedError => new CodedError('NO_INPUT', `${folder}: ${what}`);
  if (await isFile(folder)) throw said(`is a file; specify the folder of the bundle: ${dirname(folder)}`);
  const bytes = await readSmallFile(join(folder, documentName), maxBundleDocumentBytes);
  if (bytes !== undefined) return bytes;
  if (await isFile(join(folder, 'lock.json'))) throw said(`is a store and no bundle; use --store ${folder}`);
  for (const name of (await readdir(folder).catch(() => [])).sort().slice(0, maxLooked)) {
    const below = join(folder, name);
    if (await isFile(join(below, documentName))) throw said(`no bundle here; there is one in ${below}`);
  }
  throw said('no bundle here (there is no file bundle.json)');
}

/** Entries of a folder that a bundle is looked for in. */
const maxLooked = 100;

async function readDocument(folders: readonly string[]): Promise<Uint8Array> {
  let first: { readonly bytes: Uint8Array; readonly folder: string } | undefined;
  for (const folder of folders) {
    const bytes = await readDocumentIn(folder);
    first ??= { bytes, folder };
    if (Buffer.compare(first.bytes, bytes) !== 0) {
      throw new CodedError('BAD_VOLUME', `${folder}: belongs to another bundle than ${first.folder}`);
    }
  }
  if (first === undefined) throw new CodedError('USAGE', 'no bundle folder given; use --bundle DIR');
  return first.bytes;
}

interface FoundSignature {
  readonly path: string;
  /** Content of the file, untrusted. */
  readonly text: string;
  /** The same signature in the file for cosign, untrusted. */
  readonly twin: { readonly path: string; readonly bytes: Uint8Array } | undefined;
}

/** The signatures of the media. @throws BAD_DOCUMENT, DISK */
async function readSignatures(folders: readonly string[]): Promise<readonly FoundSignature[]> {
  const found: FoundSignature[] = [];
  for (const folder of folders) {
    const path = join(folder, signatureName);
    const signature = await readSmallFile(path, maxSignatureBytes);
    if (signature === undefined) continue;
    const twinPath = join(folder, sigstoreName);
    const bytes = await readSmallFile(twinPath, maxSigstoreBytes);
    const twin = bytes && { path: twinPath, bytes };
    found.push({ path, text: Buffer.from(signature).toString('latin1'), twin });
  }
  return found;
}

/** @throws BAD_SIGNATURE, UNSIGNED */
function checkSignatures(
  signatures: readonly FoundSignature[],
  folders: readonly string[],
  bytes: Uint8Array,
  trust: BundleTrust,
): BundleSigner {
  if (trust.mode === 'any') return { mode: 'unsigned' };
  // A wrong one beside a right one was put there by somebody: none is passed over.
  const [signer] = signatures.map(({ path, text }) => verifyBytes(bytes, text, trust.keys, path));
  if (signer === undefined) {
    throw new CodedError(
      'UNSIGNED',
      `${join(folders[0] ?? '', signatureName)}: missing, so nobody vouches for this bundle; omni-airgap sign --bundle DIR --sign-key KEY signs it`,
    );
  }
  return { mode: 'signed', key: fingerprintOf(signer) };
}

interface FoundVolume {
  readonly path: string | undefined;
  /** Bytes. */
  readonly size: number | undefined;
}

/** The volume in the first folder that has it. @throws BAD_VOLUME when it is no regular file, DISK */
async function findVolume(folders: readonly string[], name: string): Promise<FoundVolume> {
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      const info = await lstat(path);
      if (!info.isFile()) throw new CodedError('BAD_VOLUME', `${path}: not a regular file`);
      return { path, size: info.size };
    } catch (error) {
      if (error instanceof CodedError || systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
    }
  }
  return { path: undefined, size: undefined };
}

/**
 * What the bundle does not name is never read here; those who join `content.tar.*` by hand would unpack it too (A12).
 * @throws BAD_VOLUME, DISK
 */
async function refuseStrangers(folder: string, { volumes }: BundleDocument): Promise<void> {
  const known = new Set(volumes.map(({ name }) => name));
  try {
    for (const name of await readdir(folder)) {
      if (!name.startsWith(volumePrefix) || known.has(name)) continue;
      throw new CodedError(
        'BAD_VOLUME',
        `${join(folder, name)}: does not belong to this bundle (its last volume is ${volumes.at(-1)?.name}); remove it`,
      );
    }
  } catch (error) {
    throw diskError(error, folder);
  }
}

function requireWhole({ path, size }: FoundVolume, volume: BundleDocument['volumes'][number]): void {
  if (path === undefined) throw notHere(volume);
  if (size !== volume.size) {
    throw new CodedError('BAD_VOLUME', `${path}: ${size} bytes instead of ${volume.size}; copy it again`);
  }
}

function notHere({ name, sha256 }: BundleDocument['volumes'][number]): CodedError {
  return new CodedError(
    'BAD_VOLUME',
    `volume ${name} (sha256 ${sha256}) is in none of the given folders; add its medium with another --bundle`,
  );
}

/** @throws BAD_DOCUMENT when a digest is said to have two sizes, or to be carried and not */
function reliedOf({ relies, base, blobs }: BundleDocument): ReadonlyMap<Digest, number> {
  const relied = new Map<Digest, number>();
  if (relies === undefined) return relied;
  if (base === undefined)
    throw new CodedError('BAD_DOCUMENT', 'bundle.json: it relies on content but names no base');
  const lists = [...relies.repositories.map((entry) => entry.blobs), relies.objects];
  for (const { digest, size } of lists.flat()) {
    if ((relied.get(digest) ?? size) !== size) {
      throw new CodedError('BAD_DOCUMENT', `bundle.json: ${digest} is relied on with two sizes`);
    }
    relied.set(digest, size);
  }
  for (const { digest } of blobs) {
    if (relied.has(digest))
      throw new CodedError('BAD_DOCUMENT', `bundle.json: ${digest} is carried and relied on`);
  }
  return relied;
}

/** @returns groups in the order in which they were first named @throws NO_INPUT for a folder without bundle.json */
export async function bundleFolders(folders: readonly string[]): Promise<readonly (readonly string[])[]> {
  const groups = new Map<string, string[]>();
  for (const folder of folders) {
    const bytes = await readDocumentIn(folder);
    const key = createHash('sha256').update(bytes).digest('hex');
    groups.set(key, [...(groups.get(key) ?? []), folder]);
  }
  return [...groups.values()];
}
