/**
 * What the loads of this site brought, by their records, and which of it the last bundles of each store still name. No
 * request is made for it.
 */
import type { Accepted, LoadRecord, PrunePlan } from '@omni-airgap/format';
import { byText, CodedError, printable } from '@omni-airgap/oci/base';
import { type Digest, isDigest, isRepository, isTag } from '@omni-airgap/oci/model';
import { Withdrawals } from './withdrawals.ts';

/** All loads of one bundle, or one load straight from a store, which has no number. */
export interface Arrival {
  /** Id. */
  readonly bundle: string;
  readonly origin: string;
  /** 0: a store. */
  readonly sequence: number;
  /** Of the latest load, ISO 8601. */
  readonly loadedAt: string;
  readonly records: readonly LoadRecord[];
  /** One of those that keep what they name. */
  readonly isKept: boolean;
  /** False for loads below another prefix only: what they brought is not asked about, and stays. */
  readonly isWithin: boolean;
  /** Names of earlier bundles that it withdraws. */
  readonly withdraws: ReadonlySet<string>;
  /** Its signature was checked, at one load at least. */
  readonly isSigned: boolean;
}

/** A name of a bundle, where it was loaded to. */
export interface BroughtImage {
  /** In the bundle; the place, for signatures that the site's key made. */
  readonly name: string;
  /** Below the host of the registry. */
  readonly repository: string;
  /** Undefined for what goes by its digest. */
  readonly tag: string | undefined;
  readonly digest: Digest;
  /** The loads that brought it. */
  readonly arrivals: readonly Arrival[];
  /** Those of them that keep it. */
  readonly keptBy: readonly Arrival[];
}

/** An object that a load stored, or found as it should be. */
export interface BroughtObject {
  readonly key: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly arrivals: readonly Arrival[];
  readonly keptBy: readonly Arrival[];
}

/** Where the content lies that is asked about. */
export interface PruneTarget {
  /** `HOST[:PORT][/PREFIX]` */
  readonly registry: string | undefined;
  /** As receipts name it. */
  readonly objectStore: string | undefined;
}

/**
 * Which bundles keep what they name: of each store, the last `keep` by number, and the last by the time of their loads,
 * which are others after a load with --allow-rollback; the same of loads straight from a store.
 * @param accepted bundles that the site has accepted, as far as the target and this host know
 * @throws MISSING_CONTENT for a bundle among them without a receipt: nobody knows what it brought
 */
export function arrivalsOf(
  records: readonly LoadRecord[],
  accepted: readonly Accepted[],
  target: PruneTarget,
  keep: number,
): readonly Arrival[] {
  const ours = records.filter(({ receipt }) => isAbout(receipt, target));
  requireReceipts(ours, accepted, target, keep);
  const groups = new Map<string, LoadRecord[]>();
  for (const record of ours) {
    const { bundle, origin, sequence, loadedAt } = record.receipt;
    const key = `${origin} ${sequence} ${bundle} ${sequence === 0 ? loadedAt : ''}`;
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  const all = [...groups.values()].map((loads): Arrival => {
    const latest = loads.toSorted((a, b) => byText(a.receipt.loadedAt, b.receipt.loadedAt)).at(-1);
    const { bundle = '', origin = '', sequence = 0, loadedAt = '' } = latest?.receipt ?? {};
    const signed = loads.filter(({ receipt }) => receipt.trust.mode === 'signed');
    const isSigned = signed.length > 0;
    // The id does not cover them: without a signature, the same bundle can withdraw anything.
    const withdraws = new Set((isSigned ? signed : loads).flatMap(({ receipt }) => receipt.withdraws ?? []));
    const isWithin = loads.some(({ receipt }) => isAt(receipt, target));
    const trust = { isSigned, withdraws };
    return { bundle, origin, sequence, loadedAt, records: loads, isKept: false, isWithin, ...trust };
  });
  const kept = new Set<Arrival>();
  for (const origin of new Set(all.map((one) => one.origin))) {
    const own = all.filter((one) => one.origin === origin);
    for (const kind of [own.filter(isNumbered), own.filter((one) => !isNumbered(one))]) {
      const byNumber = kind.toSorted((a, b) => b.sequence - a.sequence || byText(b.loadedAt, a.loadedAt));
      const byTime = kind.toSorted((a, b) => byText(b.loadedAt, a.loadedAt));
      for (const one of [...byNumber.slice(0, keep), ...byTime.slice(0, keep)]) kept.add(one);
    }
  }
  return all
    .map((one) => ({ ...one, isKept: kept.has(one) || !one.isWithin }))
    .sort((a, b) => byText(a.origin, b.origin) || b.sequence - a.sequence || byText(b.loadedAt, a.loadedAt));
}

function isNumbered({ sequence }: Pick<Arrival, 'sequence'>): boolean {
  return sequence > 0;
}

function hostOf(registry: string): string {
  return registry.split('/', 1)[0] ?? '';
}

/** A load below another prefix of the registry may name the same repositories. */
function isAbout({ registry, objectStore }: LoadRecord['receipt'], target: PruneTarget): boolean {
  const isRegistry =
    registry !== undefined && target.registry !== undefined && hostOf(registry) === hostOf(target.registry);
  return isRegistry || (objectStore !== undefined && objectStore === target.objectStore);
}

/** False for a load below another prefix. */
function isAt(receipt: LoadRecord['receipt'], { registry, objectStore }: PruneTarget): boolean {
  return (
    (registry !== undefined && receipt.registry === registry) ||
    (objectStore !== undefined && receipt.objectStore === objectStore)
  );
}

/** Bundles that a message names. */
const namedBundles = 3;

function requireReceipts(
  records: readonly LoadRecord[],
  accepted: readonly Accepted[],
  target: PruneTarget,
  keep: number,
): void {
  for (const [flag, place] of [
    ['--registry', target.registry],
    ['--object-store', target.objectStore],
  ] as const) {
    const isKnown = records.some(({ receipt }) => [receipt.registry, receipt.objectStore].includes(place));
    if (place === undefined || isKnown) continue;
    throw new CodedError(
      'MISSING_CONTENT',
      `${flag} ${place}: --state has no receipt of a load into it; specify the --state of these loads, or their receipts with --receipt`,
    );
  }
  const known = new Set(records.map(({ receipt }) => receipt.bundle));
  const lacking = new Map<string, string>();
  for (const origin of new Set(accepted.map((one) => one.origin))) {
    const own = accepted.filter((one) => one.origin === origin).sort((a, b) => b.sequence - a.sequence);
    const last = [...new Map(own.map((one) => [one.id, one])).values()].slice(0, keep);
    for (const { id, sequence } of last) {
      if (!known.has(id)) lacking.set(id, `${id.slice(0, 12)} (number ${sequence})`);
    }
  }
  if (lacking.size === 0) return;
  const list = [...lacking.values()];
  const more = list.length > namedBundles ? ` and ${list.length - namedBundles} more` : '';
  throw new CodedError(
    'MISSING_CONTENT',
    `no receipt of bundle ${list.slice(0, namedBundles).join(', ')}${more}, which was accepted here and keeps what it names: specify the receipt with --receipt, or load the bundle again; nothing was changed`,
  );
}

/** What the arrivals brought into a registry or object store, each once, and what they need besides. */
export class Inventory {
  readonly arrivals: readonly Arrival[];
  readonly images: readonly BroughtImage[];
  readonly objects: readonly BroughtObject[];
  /** What kept increments took from the places of earlier loads, by repository. */
  readonly relied: ReadonlyMap<string, ReadonlySet<Digest>>;
  readonly reliedKeys: ReadonlySet<string>;
  /** Names, and keys, that kept bundles have and their loads left out, with the bundle. */
  readonly missing: ReadonlyMap<string, Arrival>;

  /** @throws BAD_DOCUMENT for an invalid target in a receipt */
  constructor(arrivals: readonly Arrival[], { registry, objectStore }: PruneTarget) {
    this.arrivals = arrivals;
    const withdrawals = new Withdrawals(arrivals);
    const host = registry === undefined ? undefined : hostOf(registry);
    const images = new Map<
      string,
      { image: Omit<BroughtImage, 'arrivals' | 'keptBy'>; arrivals: Set<Arrival> }
    >();
    const objects = new Map<
      string,
      { object: Omit<BroughtObject, 'arrivals' | 'keptBy'>; arrivals: Set<Arrival> }
    >();
    const relied = new Map<string, Set<Digest>>();
    const reliedKeys = new Set<string>();
    const missing = new Map<string, Arrival>();
    for (const arrival of arrivals) {
      for (const { receipt, signatures = [], relies } of arrival.records) {
        const isHere = receipt.registry !== undefined && hostOf(receipt.registry) === host;
        const signed = signatures.map((signature) => ({ name: signature.target, ...signature }));
        for (const image of isHere ? [...receipt.images, ...signed] : []) {
          const { name } = image;
          const place = placeOf(image);
          const key = `${place.repository} ${place.tag ?? ''} ${place.digest} ${name}`;
          const known = images.get(key) ?? { image: place, arrivals: new Set() };
          images.set(key, { ...known, arrivals: known.arrivals.add(arrival) });
        }
        for (const object of receipt.objectStore === objectStore ? receipt.objects : []) {
          const key = `${object.key} ${object.digest}`;
          const known = objects.get(key) ?? { object, arrivals: new Set() };
          objects.set(key, { ...known, arrivals: known.arrivals.add(arrival) });
        }
        if (!arrival.isKept) continue;
        for (const { name } of receipt.missing ?? []) {
          if (!withdrawals.has(arrival, name)) missing.set(name, arrival);
        }
        for (const { repository, digests } of relies?.repositories ?? []) {
          const own = relied.get(repository) ?? new Set();
          for (const digest of digests) own.add(digest);
          relied.set(repository, own);
        }
        for (const key of relies?.keys ?? []) reliedKeys.add(key);
      }
    }
    this.images = withdrawals.images(
      [...images.values()].map(({ image, arrivals: of }) => ({ ...image, arrivals: [...of] })),
    );
    this.objects = [...objects.values()].map(({ object, arrivals: of }) => ({
      ...object,
      arrivals: [...of],
      keptBy: [...of].filter((arrival) => arrival.isKept && !withdrawals.has(arrival, object.key)),
    }));
    this.relied = relied;
    this.reliedKeys = reliedKeys;
    this.missing = missing;
  }

  /** By store: the bundles that keep what they name, and the others. */
  get origins(): PrunePlan['origins'] {
    const origins = new Map<string, PrunePlan['origins'][number]>();
    for (const { origin, bundle, sequence, isKept } of this.arrivals) {
      const known = origins.get(origin) ?? { origin, kept: [], older: [] };
      (isKept ? known.kept : known.older).push({ bundle, sequence });
      origins.set(origin, known);
    }
    return [...origins.values()];
  }
}

/** True for what a bundle names that keeps it. */
export function isNamed({ keptBy }: Pick<BroughtImage | BroughtObject, 'keptBy'>): boolean {
  return keptBy.length > 0;
}

/** @throws BAD_DOCUMENT */
function placeOf({
  name,
  target,
  digest,
}: {
  readonly name: string;
  readonly target: string;
  readonly digest: Digest;
}): Omit<BroughtImage, 'arrivals' | 'keptBy'> {
  const path = target.slice(target.indexOf('/') + 1);
  const at = path.indexOf('@');
  const colon = at < 0 ? path.lastIndexOf(':') : -1;
  const repository = path.slice(0, at < 0 ? colon : at);
  const tag = at < 0 ? path.slice(colon + 1) : undefined;
  const isGood = isRepository(repository) && (tag === undefined ? isDigest(path.slice(at + 1)) : isTag(tag));
  if (isGood) return { name, repository, tag, digest };
  throw new CodedError('BAD_DOCUMENT', `receipt: ${printable(target)} is not the place of an image`);
}
