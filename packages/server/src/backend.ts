/**
 * What a server stands on: the content, where it is looked up, where it is kept what clients ask for and make. This one is
 * files: media, a store, a writable folder.
 */
import { CodedError } from '@omni-airgap/oci/base';
import { defaultGraceMs } from '@omni-airgap/oci/layout';
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
import { Housekeeping } from './registry/housekeeping.ts';
import type { Images } from './registry/images.ts';
import type { RegistryOptions } from './registry/registry-routes.ts';
import { Uploads } from './registry/uploads.ts';
import type { ServerOptions } from './server.ts';
import { type ContentSource, Overlay, type WritableSource } from './source.ts';
import { WishList } from './wishes/wish-list.ts';
import type { Wishes } from './wishes/wishes.ts';

export interface Backend {
  readonly images: Images;
  readonly index: ImageIndex;
  readonly holdings: Holdings;
  readonly made: MadeSchematics;
  readonly wishes: Wishes;
  readonly condition: Condition;
  /** Left out: nothing takes pushes. */
  readonly push?: RegistryOptions['push'];
  /** What those who push are told then. */
  readonly readOnly: string;
  readonly housekeeping?: Housekeeping | undefined;
  /** Names that cannot be asked for as one would expect, and why. */
  unreachable(): readonly Unreachable[];
}

/**
 * Reads the names and manifests of the source, so that what is wrong with it shows before the first request.
 * @throws DISK; USAGE when there is nothing to serve
 */
export async function carriedBackend(options: ServerOptions): Promise<Backend> {
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
  };
}

function claimsOf(target: WritableSource, { housekeeping }: ServerOptions): Claims {
  const { graceMs = defaultGraceMs } = housekeeping || {};
  return new Claims(target, graceMs, housekeeping !== false);
}

function sourceOf({ source, writable }: ServerOptions): ContentSource {
  if (source === undefined && writable === undefined) {
    throw new CodedError('USAGE', 'nothing to serve: name a bundle, a store, or a folder that takes pushes');
  }
  if (writable === undefined) return source as ContentSource;
  return source === undefined || source === writable ? writable : new Overlay([writable, source]);
}
