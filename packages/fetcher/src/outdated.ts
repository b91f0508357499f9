/**
 * outdated: what is newer upstream than what lock.json holds. Within a range it is what `fetch --update` brings; beyond it is
 * what somebody has to write into mirror.yaml. A tag that is no version is compared by its digest. Asks for lists of versions and
 * for what tags stand for, and changes nothing.
 */
import { noProgress, type Progress } from '@omni-airgap/oci';
import { byText, CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import { type Digest, parseReference } from '@omni-airgap/oci/model';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import { type LockDocument, Store } from '@omni-airgap/store';
import { compareVersions, isVersion, parseVersion, vPrefixed } from '@omni-airgap/talos';
import { usableOf } from './mirror/chosen-versions.ts';
import { readMirror, type WrittenMirror } from './mirror/mirror.ts';
import { UpstreamLists } from './mirror/upstream-lists.ts';
import {
  factoryList,
  fits,
  kubernetesList,
  labelOf,
  newestOf,
  omniList,
  rangeKey,
  talosList,
  type VersionRange,
} from './mirror/version-range.ts';

interface OutdatedOptions {
  readonly config: string;
  readonly store: string;
  readonly network: NetworkSettings;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A product, or an image with versions for tags. */
interface OutdatedProduct {
  /** `Talos`, `Kubernetes`, `Omni`, `Image Factory`, or a repository. */
  readonly name: string;
  /** Where upstream lists the versions. */
  readonly list: string;
  /** As mirror.yaml has them: versions and ranges. */
  readonly wanted: readonly string[];
  /** Versions that lock.json holds, the oldest first. */
  readonly current: readonly string[];
  /** Newer ones that fit a range, and that `fetch --update` brings. */
  readonly within: readonly string[];
  /** The newest patch of each minor release that is newer than all of these and fits no range, the oldest first. */
  readonly beyond: readonly string[];
  /** Why upstream's list could not be read. */
  readonly problem?: string;
}

/** An image whose tag is no version. */
interface OutdatedTag {
  /** `ghcr.io/acme/app:stable` */
  readonly name: string;
  /** What lock.json has; left out where it was not fetched yet. */
  readonly locked?: Digest;
  /** What upstream has; left out where the tag is gone, and where that could not be told. */
  readonly upstream?: Digest;
  /** Why it could not be told. */
  readonly problem?: string;
}

export interface Outdated {
  /** Products first. */
  readonly products: readonly OutdatedProduct[];
  /** Those of which something is newer. */
  readonly outdated: number;
  /** Tags that stand for something else upstream than in lock.json, which the next fetch brings; and those with a problem. */
  readonly moved: readonly OutdatedTag[];
  /** Images by digest, which nothing is newer than. */
  readonly pinned: readonly string[];
  readonly problems: number;
}

/**
 * @throws CONFIG, NO_INPUT without a mirror.yaml, or a store that something was fetched into; BUSY; what a list cannot be
 * read for stands with its product
 */
export async function outdated(options: OutdatedOptions): Promise<Outdated> {
  const { network, progress = noProgress, signal } = options;
  const written = await readMirror(options.config);
  const opening = { access: 'look', purpose: 'omni-airgap outdated', signal } as const;
  const lock = await Store.use(options.store, opening, (store) => store.lockDocument());
  if (lock === undefined) {
    throw new CodedError(
      'NO_INPUT',
      `${options.store}: nothing was fetched yet; run omni-airgap fetch first`,
    );
  }
  const { versioned, tags, pinned } = listsOf(written);
  const lists = [...versioned.keys(), ...tags.map(({ registry, repository }) => `${registry}/${repository}`)];
  const scope = { onNote: (text: string) => progress.note(text), signal };
  const [products, compared] = await UpstreamLists.use([...new Set(lists)], network, scope, (upstream) =>
    Promise.all([
      Promise.all([...versioned].map((one) => productOf(one, written, lock, upstream))),
      Promise.all(tags.map((one) => tagOf(one, lock, upstream))),
    ]),
  );
  const hasProblem = ({ problem }: { readonly problem?: string }): boolean => problem !== undefined;
  return {
    products,
    outdated: products.filter(({ within, beyond }) => within.length + beyond.length > 0).length,
    moved: compared.filter((tag) => hasProblem(tag) || tag.locked !== tag.upstream),
    pinned,
    problems: [...products, ...compared].filter(hasProblem).length,
  };
}

/** The error that ends a comparison of which a part could not be made; undefined where all was compared. */
export function outdatedFailure({ products, moved }: Outdated): CodedError | undefined {
  const failed = [...products, ...moved].filter(({ problem }) => problem !== undefined);
  const [first] = failed;
  if (first === undefined) return undefined;
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : '';
  return new CodedError('INCOMPLETE', `${first.name}: ${first.problem}${more}`);
}

/** A tag that is no version. */
interface Tag {
  readonly name: string;
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
}

/** Versions and ranges by the list that they are compared with: products first, then repositories by name. */
function listsOf({ omni, talos, media, kubernetes, images }: WrittenMirror): {
  readonly versioned: ReadonlyMap<string, readonly (string | VersionRange)[]>;
  readonly tags: readonly Tag[];
  readonly pinned: readonly string[];
} {
  const factory = talos?.imageFactory;
  const products: readonly (readonly [string, readonly (string | VersionRange)[]])[] = [
    [omniList, omni?.versions ?? []],
    [talosList, [...(talos?.versions ?? []), ...media.flatMap(({ versions }) => versions)]],
    [kubernetesList, kubernetes?.versions ?? []],
    [factoryList, factory === undefined ? [] : [factory.version]],
  ];
  const versioned = new Map(products.filter(([, wanted]) => wanted.length > 0));
  const unversioned = new Map<string, Tag>();
  const pinned = new Set<string>();
  for (const { reference, tags } of images.toSorted((a, b) => byText(a.reference, b.reference))) {
    if (tags !== undefined) {
      versioned.set(tags.list, [...(versioned.get(tags.list) ?? []), tags]);
      continue;
    }
    const { registry, repository, tag, digest } = parseReference(reference);
    const list = `${registry}/${repository}`;
    if (tag === undefined || digest !== undefined) pinned.add(reference);
    else if (isVersion(tag)) versioned.set(list, [...(versioned.get(list) ?? []), tag]);
    else unversioned.set(reference, { name: `${list}:${tag}`, registry, repository, tag });
  }
  return { versioned, tags: [...unversioned.values()], pinned: [...pinned] };
}

async function tagOf(
  { name, registry, repository, tag }: Tag,
  lock: LockDocument,
  upstream: UpstreamLists,
): Promise<OutdatedTag> {
  const held = lock.items.find((item) => item.name === name);
  const base = { name, ...(held === undefined ? {} : { locked: held.descriptor.digest }) };
  try {
    const digest = await upstream.digest(registry, repository, tag);
    return digest === undefined ? base : { ...base, upstream: digest };
  } catch (error) {
    return { ...base, problem: problemOf(error) };
  }
}

/** @throws what ends the whole comparison */
function problemOf(error: unknown): string {
  if (!isCoded(error) || error.code === 'ABORTED') throw error;
  return messageOf(error);
}

async function productOf(
  [list, wanted]: readonly [string, readonly (string | VersionRange)[]],
  written: WrittenMirror,
  lock: LockDocument,
  upstream: UpstreamLists,
): Promise<OutdatedProduct> {
  const texts = wanted.map((one) => (typeof one === 'string' ? one : one.range));
  const current = currentOf(list, wanted, lock);
  const base = { name: labelOf(list), list, wanted: [...new Set(texts)], current };
  try {
    const offered = await upstream.versions(list);
    const ranges = wanted.filter((one) => typeof one !== 'string');
    const usable = usableOf(list, offered, written);
    const within = [...new Set(ranges.flatMap((range) => newestOf(usable, range)))];
    const isBrought = (version: string): boolean =>
      usable.includes(version) && ranges.some((range) => fits(version, range));
    return {
      ...base,
      within: within.filter((version) => !includes(current, version)).sort(compareVersions),
      beyond: beyondOf(offered, current, isBrought),
    };
  } catch (error) {
    return { ...base, within: [], beyond: [], problem: problemOf(error) };
  }
}

/** What lock.json has of a list: chosen for ranges, and versions that are written out and were fetched. */
function currentOf(
  list: string,
  wanted: readonly (string | VersionRange)[],
  lock: LockDocument,
): readonly string[] {
  const pins = new Map((lock.ranges ?? []).map((pin) => [rangeKey(pin), pin.versions]));
  const versions = wanted.flatMap((one) =>
    typeof one === 'string' ? [one] : (pins.get(rangeKey(one)) ?? []),
  );
  const names = new Set(lock.items.map(({ name }) => name));
  // Of a Talos version many names may be there, or none: clusters need images of other versions.
  const isHeld = (version: string): boolean => list === talosList || names.has(`${list}:${version}`);
  return [...new Set(versions)].filter(isHeld).sort(compareVersions);
}

function includes(versions: readonly string[], version: string): boolean {
  return versions.some((one) => vPrefixed(one) === vPrefixed(version));
}

/**
 * Releases newer than the locked ones: the newest patch of each minor release.
 * @param isBrought whether a range brings it
 */
function beyondOf(
  offered: readonly string[],
  current: readonly string[],
  isBrought: (version: string) => boolean,
): readonly string[] {
  const newest = new Map<string, string>();
  for (const version of current) newest.set(minorOf(version), version);
  const last = current.at(-1);
  const found = new Map<string, string>();
  for (const version of offered) {
    const minor = minorOf(version);
    const than = found.get(minor) ?? newest.get(minor) ?? last;
    if (than === undefined || parseVersion(version).prerelease !== '' || isBrought(version)) continue;
    if (compareVersions(version, than) > 0) found.set(minor, version);
  }
  return [...found.values()].sort(compareVersions);
}

function minorOf(version: string): string {
  const { major, minor } = parseVersion(version);
  return `${major}.${minor}`;
}
