/**
 * What is loaded, as an interface, and its usual form: a bundle, or a base with the increments made from it, read as
 * one store. The newest bundle determines the names; content is taken from whichever bundle has it. Volumes may be missing
 * while discs are loaded one after another: then some content is known, and not at hand.
 */

import { basename } from 'node:path';
import {
  type BundleBase,
  type BundleDocument,
  type BundleSigner,
  BundleStore,
  type BundleTrust,
  bundleFolders,
  checkMemberHeader,
  checkSmallContent,
  checkTrailer,
  formatVolumeRange,
  isProgramFile,
  type PlacedBlob,
  verifyFiles,
  volumeName,
} from '@omni-airgap/format';
import type { Bytes, Located, Piece, Progress, RangeFetcher, ReadOnlyStorage } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { eachBlock, fetchLocated } from '@omni-airgap/oci/fs';
import { type Descriptor, type Digest, Hasher, isDigest } from '@omni-airgap/oci/model';
import { Spool } from './spool.ts';

/** Missing volumes that a message names. */
const maxNamed = 3;

type Sized = Pick<Descriptor, 'digest' | 'size'>;

/** A volume that must still be given. */
interface WantedVolume {
  readonly bundle: string;
  readonly volume: number;
  /** How many the bundle has. */
  readonly of: number;
  /** Names of all volumes that a file lies on which needs this one, where they must be mounted together. */
  readonly together?: readonly string[] | undefined;
}

/**
 * What a load moves. The caller of `load` makes one, so that nothing below depends on what it is read from; it stays open
 * for as long as the load takes.
 */
export interface LoadSource extends ReadOnlyStorage, RangeFetcher, Located {
  /** A store has no number, so nothing is recorded of it, and no older one can pass for it. */
  readonly kind: 'bundle' | 'store';
  /** What determines the names: that of the newest bundle. */
  readonly document: BundleDocument;
  /** Of all bundles whose content is loaded, the oldest first. */
  readonly documents: readonly BundleDocument[];
  /** Whose signature of the newest was checked. */
  readonly signer: BundleSigner;
  /** Likewise of each bundle, by its id. */
  readonly signers: ReadonlyMap<string, BundleSigner>;
  /** True when it is carried, whether its volume is at hand or not. */
  carries(descriptor: Sized): boolean;
  /** True when it is not carried because a bundle that was loaded before brought it. */
  reliesOn(descriptor: Sized): boolean;
  /** Volumes without which the content cannot be read; empty when it is at hand or carried nowhere. */
  wantedFor(descriptor: Sized): readonly WantedVolume[];
  /** Where content lies, as a number that grows along the media: reading in this order reads forward. */
  position(digest: Digest): number;
  /** What to say when content that an earlier bundle brought is not at the site. @param items what and where */
  missingBase(items: readonly string[]): CodedError;
  /** Looks whether `keepParts` could write, before anything moves. @throws USAGE, DISK */
  checkParts(): Promise<void>;
  /**
   * Keeps what is at hand of blobs that are not whole, for the load that is run with the next volume.
   * @throws DISK, BAD_VOLUME
   */
  keepParts(progress: Progress, signal: AbortSignal | undefined): Promise<void>;
  /**
   * Removes what `keepParts` kept, in this load or an earlier one.
   * @param of one blob; default: all
   * @returns names of the volumes whose parts were removed
   * @throws DISK
   */
  dropParts(of?: Sized): Promise<readonly string[]>;
}

/**
 * Opens mounted media for a load.
 * @param folders where media are mounted, of one bundle or of a chain of increments
 * @param spool folder for parts of blobs that are cut over volumes which are not mounted together
 * @throws NO_INPUT, UNSIGNED, BAD_SIGNATURE, BAD_DOCUMENT, DISK; BAD_VOLUME for a volume that is cut off, and for a
 * volume 000 that is damaged; USAGE for bundles of different stores
 */
export function openBundles(
  folders: readonly string[],
  trust: BundleTrust,
  spool: string | undefined,
): Promise<LoadSource> {
  return BundleSource.open(folders, trust, spool === undefined ? undefined : new Spool(spool));
}

class BundleSource implements LoadSource {
  readonly kind = 'bundle';
  readonly document: BundleDocument;
  readonly documents: readonly BundleDocument[];
  readonly signer: BundleSigner;
  readonly signers: ReadonlyMap<string, BundleSigner>;
  /** The oldest first. */
  readonly #bundles: readonly BundleStore[];
  /** Bundles that must have been loaded before, because none of those given holds what they brought. */
  readonly #bases: readonly BundleBase[];
  readonly #spool: Spool | undefined;
  readonly #absent: ReadonlyMap<BundleStore, ReadonlySet<number>>;
  /** By digest: whether what surrounds a blob is as it must; by id: whether the end of a bundle is. */
  readonly #checked = new Map<string, Promise<void>>();

  private constructor(bundles: readonly BundleStore[], newest: BundleStore, spool: Spool | undefined) {
    this.#bundles = bundles;
    this.documents = bundles.map(({ document }) => document);
    this.document = newest.document;
    this.signer = newest.signer;
    this.signers = new Map(bundles.map(({ document, signer }) => [document.id, signer]));
    const given = new Set(bundles.map((bundle) => bundle.document.id));
    const bases = new Map<string, BundleBase>();
    for (const { document } of bundles) {
      for (const base of document.base ?? []) if (!given.has(base.id)) bases.set(base.id, base);
    }
    this.#bases = [...bases.values()].sort((a, b) => a.sequence - b.sequence);
    this.#spool = spool;
    this.#absent = new Map(
      bundles.map((bundle) => [bundle, new Set(bundle.problems.map(({ volume }) => volume))]),
    );
  }

  /** @throws as openBundles */
  static async open(
    folders: readonly string[],
    trust: BundleTrust,
    spool: Spool | undefined,
  ): Promise<BundleSource> {
    const bundles: BundleStore[] = [];
    for (const group of await bundleFolders(folders)) {
      bundles.push(await BundleStore.open(group, trust, { volumes: 'present' }));
    }
    bundles.sort((a, b) => a.document.sequence - b.document.sequence);
    const newest = bundles.at(-1);
    if (newest === undefined) throw new CodedError('USAGE', 'no bundle folder given; use --bundle DIR');
    for (const { document, problems } of bundles) {
      if (document.origin !== newest.document.origin) {
        throw new CodedError(
          'USAGE',
          `bundles ${document.id.slice(0, 12)} and ${newest.document.id.slice(0, 12)} come from different stores; load them one after the other`,
        );
      }
      const cut = problems.find(({ size }) => size !== undefined);
      const volume = cut === undefined ? undefined : document.volumes[cut.volume];
      if (volume !== undefined) {
        throw new CodedError(
          'BAD_VOLUME',
          `${volume.name}: ${cut?.size} bytes instead of ${volume.size}; it is cut off, or belongs to another bundle; copy it again`,
        );
      }
    }
    for (const bundle of bundles) {
      await checkProgram(bundle);
      await checkSmallContent(bundle);
    }
    return new BundleSource(bundles, newest, spool);
  }

  async has(descriptor: Sized): Promise<boolean> {
    return this.carries(descriptor);
  }

  carries(descriptor: Sized): boolean {
    return this.#bundles.some((bundle) => bundle.map.place(descriptor.digest)?.size === descriptor.size);
  }

  reliesOn(descriptor: Sized): boolean {
    return this.#bundles.some((bundle) => bundle.reliesOn(descriptor));
  }

  wantedFor(descriptor: Sized): readonly WantedVolume[] {
    let wanted: readonly WantedVolume[] = [];
    for (const bundle of this.#bundles) {
      const place = bundle.map.place(descriptor.digest);
      if (place === undefined || place.size !== descriptor.size) continue;
      const absent = this.#absentOf(bundle);
      const runs = bundle.map.runsOf(place);
      const isCut = runs.length > 1 && this.#spool === undefined;
      const together = isCut ? runs.map(({ volume }) => volumeName(volume)) : undefined;
      wanted = runs
        .filter(({ volume }) => absent.has(volume) && !this.#spool?.has(bundle, place, volume))
        .map(({ volume }) => {
          const { id, volumes } = bundle.document;
          return { bundle: id, volume, of: volumes.length, together };
        });
      if (wanted.length === 0) return [];
    }
    return wanted;
  }

  /**
   * Undefined when no bundle carries it.
   * @throws INCOMPLETE when its volume is not at hand; BAD_VOLUME when header or padding there are not what they must be
   */
  async locate(descriptor: Sized): Promise<readonly Piece[] | undefined> {
    let absent: readonly WantedVolume[] | undefined;
    for (const bundle of this.#bundles) {
      const place = bundle.map.place(descriptor.digest);
      if (place === undefined || place.size !== descriptor.size) continue;
      const wanted = this.wantedFor(descriptor);
      if (wanted.length > 0) {
        absent = wanted;
        continue;
      }
      const gone = this.#absentOf(bundle);
      await this.#checkMember(bundle, place);
      return bundle.map.runsOf(place).map(({ volume, offset, size }) => {
        const spooled = gone.has(volume) ? this.#spool?.pieceOf(bundle, place, volume) : undefined;
        return spooled ?? { path: bundle.volumePath(volume), offset, size };
      });
    }
    if (absent !== undefined) throw new MissingVolumes(absent);
    return undefined;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return this.fetchFrom(descriptor, 0, signal);
  }

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return fetchLocated(this, descriptor, offset, 'this bundle', signal);
  }

  position(digest: Digest): number {
    for (const [i, bundle] of this.#bundles.entries()) {
      const place = bundle.map.place(digest);
      // Volumes are far below a tebibyte; the sum stays exact.
      if (place !== undefined) return (i * 1000 + place.volume) * 2 ** 40 + place.offset;
    }
    return 0;
  }

  missingBase(items: readonly string[]): CodedError {
    const bases = this.#bases.map(({ id, sequence }) => `number ${sequence} (${id.slice(0, 12)})`);
    const had =
      bases.length === 0 ? 'no bundle given holds it' : `load bundle ${bases.join(', then ')} first`;
    const more = items.length - maxNamed;
    return new CodedError(
      'MISSING_CONTENT',
      `${had}, or give it with another --bundle: this increment relies on content that is not here: ${items.slice(0, maxNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
    );
  }

  async checkParts(): Promise<void> {
    await this.#spool?.check();
  }

  async keepParts(progress: Progress, signal: AbortSignal | undefined): Promise<void> {
    for (const bundle of this.#bundles) await this.#spool?.fill(bundle, progress, signal);
  }

  async dropParts(of?: Sized): Promise<readonly string[]> {
    const dropped: string[] = [];
    for (const bundle of this.#bundles) {
      const blobs = of === undefined ? bundle.map.blobs : [bundle.map.place(of.digest) ?? []].flat();
      for (const volume of (await this.#spool?.drop(bundle, blobs)) ?? []) dropped.push(volumeName(volume));
    }
    return dropped;
  }

  /** Once for each blob; volume 000 was read as a whole. */
  async #checkMember(bundle: BundleStore, blob: PlacedBlob): Promise<void> {
    if (blob.volume === 0) return;
    const once = (what: string, check: () => Promise<void>): Promise<void> => {
      const checked = this.#checked.get(what) ?? check();
      this.#checked.set(what, checked);
      return checked;
    };
    await once(blob.digest, () => checkMemberHeader(bundle, blob));
    const isLast = bundle.map.runsOf(blob).at(-1)?.volume === bundle.map.sizes.length - 1;
    if (isLast) await once(bundle.document.id, () => checkTrailer(bundle));
  }

  #absentOf(bundle: BundleStore): ReadonlySet<number> {
    return this.#absent.get(bundle) ?? new Set();
  }
}

/** A changed executable shows that somebody changed the medium. @throws DIGEST_MISMATCH */
async function checkProgram({ folders, document }: BundleStore): Promise<void> {
  const files = document.files.filter(({ name }) => isProgramFile(name));
  const [damage] = await verifyFiles(folders, { files });
  if (damage === undefined) return;
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${damage.path} ${damage.what}: do not run it; copy it again or remove it, then run load again`,
  );
}

/** Volumes that are needed and not mounted, by their numbers. Fault F28. */
export class MissingVolumes extends CodedError {
  readonly volumes: readonly WantedVolume[];

  constructor(volumes: readonly WantedVolume[]) {
    const byBundle = new Map<string, { readonly of: number; readonly volumes: Set<number> }>();
    for (const { bundle, volume, of } of volumes) {
      const known = byBundle.get(bundle) ?? { of, volumes: new Set() };
      byBundle.set(bundle, known);
      known.volumes.add(volume);
    }
    const count = [...byBundle.values()].reduce((sum, one) => sum + one.volumes.size, 0);
    const list = [...byBundle].map(([bundle, { of, volumes: missing }]) => {
      const numbers = formatVolumeRange([...missing].sort((x, y) => x - y)).replaceAll(',', ', ');
      const whose = byBundle.size > 1 ? ` of bundle ${bundle.slice(0, 12)}` : '';
      return `${missing.size} of ${of} volumes${whose} ${missing.size === 1 ? 'is' : 'are'} missing: ${numbers}`;
    });
    // Mounting one disc and then the other would never end (C5).
    const cut = volumes.find(({ together }) => together !== undefined)?.together ?? [];
    const advice =
      cut.length === 0
        ? `mount ${count === 1 ? 'it' : 'them'} and run load again`
        : `a file lies on both ${cut.slice(0, maxNamed).join(' and ')}: mount them together (one --bundle for each), or run load with each disc and --spool DIR, which keeps the part of the first`;
    super('INCOMPLETE', `${list.join('; ')}; ${advice}; what was given is loaded, no name was published`);
    this.volumes = volumes;
  }
}

/** Throws what is worst: another failure before missing volumes, and all of those in one. */
export function throwWorst(errors: readonly unknown[]): void {
  const other = errors.find((error) => !(error instanceof MissingVolumes));
  if (other !== undefined) throw other;
  const volumes = errors.flatMap((error) => (error instanceof MissingVolumes ? error.volumes : []));
  if (volumes.length > 0) throw new MissingVolumes(volumes);
}

/**
 * A push that failed because bytes had another digest: was it the medium? Then the volume is named, so that a
 * person knows which disc to copy again. Fault F30.
 * @returns the same error, or BAD_VOLUME when the blob it is about is damaged in the bundle.
 */
export async function explainDamage(
  source: LoadSource,
  error: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  if (!isCoded(error, 'DIGEST_MISMATCH') || error.descriptor === undefined) return error;
  const { digest, size } = error.descriptor;
  const pieces = isDigest(digest) ? await source.locate({ digest, size }) : undefined;
  if (pieces === undefined) return error;
  const hasher = new Hasher();
  await eachBlock(pieces, (block) => hasher.update(block), signal);
  if (hasher.finish() === digest) return error;
  // A part that was kept from another disc is no better than the rest, and would be taken for right for ever (A5).
  const dropped = await source.dropParts({ digest: error.descriptor.digest as Digest, size });
  if (source.kind === 'store') {
    const what = `${pieces[0]?.path ?? digest}: its bytes are not what its name says, the store was changed or its disk is bad`;
    return new CodedError('DIGEST_MISMATCH', `${what}; remove it and run fetch again, then load`, {
      cause: error,
      descriptor: error.descriptor,
    });
  }
  const where = pieces.map(({ path, offset }) => `${basename(path)} at byte ${offset}`).join(', ');
  const again =
    dropped.length === 0
      ? 'copy this volume again and run load again'
      : `the parts kept in --spool were removed: check each disc with verify, copy the damaged one again, and run load with ${dropped.join(', ')} first`;
  return new CodedError(
    'BAD_VOLUME',
    `${digest} is damaged on the medium, in ${where} (${pieces[0]?.path ?? ''}); ${again}: what is done is kept`,
    { cause: error, descriptor: error.descriptor },
  );
}
