/**
 * lock.json: what a mirror.yaml came to mean. Every name with its digest, its size and where it came from; what
 * stands here is what `bundle` packs and what a later `fetch` compares with.
 */

import {
  bytesSchema,
  descriptorSchema,
  digestSchema,
  manyOf,
  parseDocument,
  serializeDocument,
  textSchema,
  timeSchema,
  verifiedSchema,
} from '@omni-airgap/format';
import { byText, CodedError, printable } from '@omni-airgap/oci/base';
import { type Descriptor, isManifestType } from '@omni-airgap/oci/model';
import { shapesOf } from '@omni-airgap/oci/registry';
import * as v from 'valibot';

const fileSchema = v.strictObject({
  name: textSchema,
  digest: digestSchema,
  size: bytesSchema,
  /** URL without query that it was fetched from. */
  source: textSchema,
  fetchedAt: timeSchema,
  /** What it was pinned to before somebody replaced the pin on purpose, the latest first. */
  replaced: v.optional(
    v.array(
      v.strictObject({
        digest: digestSchema,
        size: bytesSchema,
        fetchedAt: timeSchema,
        replacedAt: timeSchema,
        /** Account and machine. */
        replacedBy: v.optional(textSchema),
      }),
    ),
  ),
});
export type LockedFile = v.InferOutput<typeof fileSchema>;

const itemSchema = v.strictObject({
  /** The full reference that the store and every bundle know it by. */
  name: textSchema,
  kind: v.picklist(['image', 'schematic', 'media', 'signature', 'catalog']),
  descriptor: descriptorSchema,
  /** Bytes of all content below it, shared content included. */
  bytes: bytesSchema,
  source: textSchema,
  fetchedAt: timeSchema,
  /** Account and machine that fetched it. */
  fetchedBy: v.optional(textSchema),
  /** Platforms carried, when not all of the index are. */
  platforms: v.optional(v.array(textSchema)),
  /** Platforms that were wanted too, and that the image did not have upstream. */
  missingPlatforms: v.optional(v.array(textSchema)),
  /** The signature that was checked. */
  verified: v.optional(verifiedSchema),
  /** Files of a media artifact, each pinned by the digest it had when first fetched. */
  files: v.optional(manyOf(fileSchema)),
});
export type LockedItem = v.InferOutput<typeof itemSchema>;

/** What a range of mirror.yaml stands for, until somebody moves it on purpose. Pinned before that content is fetched. */
const rangeSchema = v.strictObject({
  /** Where upstream lists the versions: `factory.talos.dev/versions`, or a repository. */
  list: textSchema,
  /** As mirror.yaml has it. */
  range: textSchema,
  /** How many of the newest that fit. */
  newest: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** The newest first. */
  versions: v.pipe(manyOf(textSchema), v.minLength(1)),
  chosenAt: timeSchema,
});
export type LockedRange = v.InferOutput<typeof rangeSchema>;
/** What mirror.yaml says of the site. */
const insideSchema = v.strictObject({
  talos: v.optional(v.array(textSchema)),
  registry: v.optional(textSchema),
  tls: v.optional(v.boolean()),
  factory: v.optional(v.picklist(['existing', 'carried', 'serve'])),
});
type LockedFacts = v.InferOutput<typeof insideSchema>;

const schema = v.strictObject({
  kind: v.literal('omni-airgap/lock'),
  schema: v.literal(1),
  ranges: v.optional(manyOf(rangeSchema)),
  items: manyOf(itemSchema),
  /** Names that the last fetch could not bring: while there are any, the store is not what mirror.yaml says. */
  missing: manyOf(textSchema),
  inside: v.optional(insideSchema),
});
export type LockDocument = v.InferOutput<typeof schema>;

/** What lock.json shall say. */
export interface LockContents {
  readonly items: readonly LockedItem[];
  /** Names that could not be brought. */
  readonly missing: readonly string[];
  readonly inside?:
    | (Omit<LockedFacts, 'talos'> & { readonly talos?: readonly string[] | undefined })
    | undefined;
}

export const maxLockBytes: number = 64 * 1024 * 1024;

/** @throws BAD_DOCUMENT; for an item that is no manifest, with its descriptor */
export function parseLockDocument(bytes: Uint8Array, what = 'lock.json'): LockDocument {
  const lock = parseDocument(schema, bytes, what, 1);
  const foreign = lock.items.find(isForeign);
  if (foreign === undefined) return lock;
  const { name, descriptor } = foreign;
  throw new CodedError(
    'BAD_DOCUMENT',
    `${what}: ${printable(name)}: ${printable(descriptor.mediaType)} is not a manifest type`,
    { descriptor },
  );
}

/**
 * Takes items that are no manifests out of a lock.json: earlier versions recorded web pages as images.
 * @returns the rest, with the names of the removed items among those that are missing
 * @throws BAD_DOCUMENT
 */
export function withoutForeignItems(
  bytes: Uint8Array,
  what: string,
): { readonly lock: LockDocument; readonly removed: readonly LockedItem[] } {
  const lock = parseDocument(schema, bytes, what, 1);
  const removed = lock.items.filter(isForeign);
  const missing = [...new Set([...lock.missing, ...removed.map(({ name }) => name)])].sort(byText);
  return { lock: { ...lock, items: lock.items.filter((item) => !isForeign(item)), missing }, removed };
}

function isForeign({ descriptor }: LockedItem): boolean {
  return !isManifestType(descriptor.mediaType);
}

/**
 * A name of the set, for whoever judges whether it will work inside.
 * @param content all descriptors below the item
 */
export function lockedName(
  { name, descriptor, platforms, files }: LockedItem,
  content: Iterable<Descriptor>,
): {
  readonly name: string;
  readonly digest: string;
  readonly shapes: readonly string[];
  readonly platforms: readonly string[] | undefined;
  readonly files: readonly string[] | undefined;
} {
  const traits = { isSparse: platforms !== undefined, isReferrer: name.includes('@') };
  return {
    name,
    digest: descriptor.digest,
    shapes: shapesOf(content, traits),
    platforms,
    files: files?.map((file) => file.name),
  };
}

export function serializeLock(lock: LockDocument): string {
  return serializeDocument(lock);
}

/** What lock.json shall say. */
export interface LockContents {
  readonly items: readonly LockedItem[];
  /** Names that could not be brought. */
  readonly missing: readonly string[];
  /** Default: none. */
  readonly ranges?: readonly LockedRange[] | undefined;
}

/**
 * What a fetch came to, over what lock.json said before: items that have not changed keep the time they were fetched at,
 * by whom, and what was verified about them.
 * @param by account and machine
 */
export function mergedLock(
  { items, missing, ranges = [], inside }: LockContents,
  before: LockDocument | undefined,
  by: string | undefined,
): LockDocument {
  const fetchedBy = by === undefined ? {} : { fetchedBy: by };
  const known = new Map(before?.items.map((item) => [item.name, item]));
  const merged = [...items]
    .sort((a, b) => byText(a.name, b.name))
    .map((item) => {
      const old = known.get(item.name);
      if (old?.descriptor.digest !== item.descriptor.digest) return { ...item, ...fetchedBy };
      const kept = { ...item, fetchedAt: old.fetchedAt, ...fetcherOf(old) };
      // What was checked about these bytes stays true in a run that does not check.
      return item.verified === undefined && old.verified !== undefined
        ? { ...kept, verified: old.verified }
        : kept;
    });
  return {
    kind: 'omni-airgap/lock',
    schema: 1,
    ...(ranges.length === 0 ? {} : { ranges: [...ranges] }),
    items: merged,
    missing: [...missing].sort(byText),
    ...(inside === undefined ? {} : { inside: { ...inside, talos: inside.talos && [...inside.talos] } }),
  };
}

function fetcherOf({ fetchedBy }: LockedItem): Pick<LockedItem, 'fetchedBy'> {
  return fetchedBy === undefined ? {} : { fetchedBy };
}
