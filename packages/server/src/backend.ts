/**
 * What a server stands on: the content, where it is looked up, where it is kept what clients ask for and make. This one is
 * files: media, a store, a writable folder.
 */
import { CodedError } from '@omni-airgap/oci/base';
import { defaultGraceMs } from '@omni-airgap/oci/layout';
import type { Provenance } from './bundles.ts';
import { CarriedHoldings } from './factory/carried-holdings.ts';
import type { Holdings } from './factory/holdings.ts';
import { type MadeSchematics, RememberedSchematics } from './factory/made-schematics.ts';
import type { Condition } from './health.ts';
import { Integrity } from './integrity.ts';
import { CarriedIndex, type ImageIndex } from './page/image-index.ts';
import { Blobs } from './registry/blobs.ts';
import { CarriedImages } from './registry/carried-images.ts';
import { Catalog, type Unreachable } from './registry/catalog.ts';
import { Claims } from './registry/claims.ts';
import { Housekeeping, type HousekeepingOptions } from './registry/housekeeping.ts';
import type { Images } from './registry/images.ts';
import type { RegistryOptions } from './registry/registry-routes.ts';
import { type UploadLimits, Uploads } from './registry/uploads.ts';
import type { UpstreamCounts } from './replica/upstream-counts.ts';
import { type ContentSource, Overlay, type WritableSource } from './source.ts';
import { WishList } from './wishes/wish-list.ts';
import type { Wishes } from './wishes/wishes.ts';

export interface CarriedOptions {
  /** What is served; left out, only what is pushed to `writable`. */
  readonly source?: ContentSource;
  /** Takes pushes and serves them, over what `source` has; left out, the registry is read-only. */
  readonly writable?: WritableSource;
  /** Path of the file that wishes are kept in; left out, they end with the server. */
  readonly wishesFile?: string;
  /** Names that come from a bundle that is not the newest of its store: marked on the page. */
  readonly olderNames?: ReadonlyMap<string, Provenance>;
  /** Takes an index whose children are missing; default false, as registries do. */
  readonly allowSparse?: boolean;
  readonly uploads?: UploadLimits;
  /** How long `writable` keeps what no push needs any more; false: for ever, where others have content there too. */
  readonly housekeeping?: HousekeepingOptions | false;
}

export interface Backend {
  readonly images: Images;
  readonly index: ImageIndex;
  readonly holdings: Holdings;
  readonly made: MadeSchematics;
  readonly wishes: Wishes;
  readonly condition: Condition;
  /** Requests to other servers, of one that stands before them. */
  readonly upstream?: UpstreamCounts | undefined;
  /** Sends clients to where they can read content themselves. */
  readonly isRedirecting?: boolean;
  /** Left out: nothing takes pushes. */
  readonly push?: RegistryOptions['push'];
  /** What those who push are told then. */
  readonly readOnly: string;
  readonly housekeeping?: Housekeeping | undefined;
  /** Names that cannot be asked for as one would expect, and why. */
  unreachable(): readonly Unreachable[];
  /** Ends what is under way, and writes what is not written yet. @throws DISK */
  close(): Promise<void>;
}

/**
 * Reads the names and manifests of the source, so that what is wrong with it shows before the first request.
 * @throws DISK; USAGE when there is nothing to serve
 */
export async function carriedBackend(options: CarriedOptions): Promise<Backend> {
  const { writable, olderNames = new Map(), housekeeping: keeping = {} } = options;
  const source = sourceOf(options);
  await writable?.removeAbandoned();
  const catalog = await Catalog.read(source, (name) => olderNames.has(name));
  const integrity = new Integrity(source, () => catalog.anyManifest());
  const claims = writable && claimsOf(writable, options);
  const blobs = new Blobs(catalog, source, claims);
  const made = new RememberedSchematics();
  const wishes = await WishList.open(options.wishesFile);
  for (const wish of (await wishes.document()).wishes) {
    if (wish.kind === 'schematic' && wish.text !== undefined) {
      await made.keep({ id: wish.id, canonical: wish.text });
    }
  }
  const push =
    writable === undefined || claims === undefined
      ? undefined
      : {
          ...{ target: writable, claims, blobs, catalog, source, allowSparse: options.allowSparse ?? false },
          uploads: new Uploads(writable, claims, options.uploads),
        };
  return {
    images: new CarriedImages(catalog, integrity, blobs),
    index: new CarriedIndex(catalog, olderNames),
    holdings: new CarriedHoldings(catalog, integrity),
    made,
    wishes,
    condition: integrity,
    push,
    readOnly: 'this registry is read-only',
    housekeeping:
      push === undefined || keeping === false
        ? undefined
        : new Housekeeping({ ...push, source, catalog, integrity }, keeping),
    unreachable: () => catalog.unreachable(),
    close: async () => {
      await push?.uploads.cancelAll();
      await wishes.close();
    },
  };
}

function claimsOf(target: WritableSource, { housekeeping }: CarriedOptions): Claims {
  const { graceMs = defaultGraceMs } = housekeeping || {};
  return new Claims(target, graceMs, housekeeping !== false);
}

function sourceOf({ source, writable }: CarriedOptions): ContentSource {
  if (source === undefined && writable === undefined) {
    throw new CodedError('USAGE', 'nothing to serve: name a bundle, a store, or a folder that takes pushes');
  }
  if (writable === undefined) return source as ContentSource;
  return source === undefined || source === writable ? writable : new Overlay([writable, source]);
}
