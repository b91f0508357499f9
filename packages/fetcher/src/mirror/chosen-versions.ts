/**
 * The versions that the ranges of a mirror.yaml stand for: as lock.json pins them, else the newest that upstream lists now.
 * A pin moves when somebody says so. Nothing is asked where everything is pinned.
 */
import { CodedError, isCoded, messageOf, printable } from '@omni-airgap/oci/base';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import type { LockDocument, LockedRange, Store } from '@omni-airgap/store';
import { compareVersions, knownTalosVersions, talosKubernetesImages, vPrefixed } from '@omni-airgap/talos';
import type { Mirror, WrittenMirror } from './mirror.ts';
import { UpstreamLists } from './upstream-lists.ts';
import { newestOf, rangeKey, talosList, type VersionRange } from './version-range.ts';

export interface ChosenRange extends LockedRange {
  /** Whether lock.json had it so. */
  readonly pinned: boolean;
  /** What lock.json had, where this is something else. */
  readonly replaced?: readonly string[];
  /** What `fetch --update` would choose, where that is something else and was asked. */
  readonly update?: readonly string[];
  /** The newest version that fits, where an older one had to be taken. */
  readonly passedOver?: string;
}

/** What lock.json says of it. */
export function lockedRange({ list, range, newest, versions, chosenAt }: ChosenRange): LockedRange {
  return { list, range, newest, versions, chosenAt };
}

/**
 * Pins what was chosen in lock.json before any content is fetched, so that a fetch that is killed after hours continues with
 * the same versions. A pin is a choice and claims no content: the items stay as they are. A store without lock.json gets one in
 * which all names are missing. Pins of other ranges stay until the fetch is finished.
 * @param names what the choice makes of mirror.yaml; one at least
 * @throws BAD_DOCUMENT, DISK, BUSY
 */
export async function pinVersions(
  store: Pick<Store, 'updateLockDocument'>,
  chosen: readonly ChosenRange[],
  names: readonly string[],
): Promise<void> {
  if (chosen.every(({ pinned }) => pinned)) return;
  const keys = new Set(chosen.map(rangeKey));
  await store.updateLockDocument((now) => {
    const others = (now?.ranges ?? []).filter((pin) => !keys.has(rangeKey(pin)));
    const ranges = [...chosen.map(lockedRange), ...others];
    return now === undefined ? { ranges, items: [], missing: names } : { ...now, ranges };
  }, undefined);
}

export interface ChosenVersions {
  readonly mirror: Mirror;
  readonly ranges: readonly ChosenRange[];
  /** Lines for people. */
  readonly warnings: readonly string[];
}

export interface ChoosingOptions {
  readonly lock: LockDocument | undefined;
  readonly network: NetworkSettings;
  /** Where requests are recorded, who is told of retries, what ends it. */
  readonly scope: Parameters<typeof UpstreamLists.use>[2];
  /** Choose again what is pinned. */
  readonly update: boolean;
  /** Ask what `update` would choose, too; what cannot be asked is a warning. */
  readonly look?: boolean;
}

/**
 * @throws CONFIG with the place of a range that no version fits, or of a Talos version whose images are not known;
 * what asking upstream throws, with the place
 */
export async function chooseVersions(
  written: WrittenMirror,
  { lock, network, scope, update, look = false }: ChoosingOptions,
): Promise<ChosenVersions> {
  const ranges = rangesOf(written);
  const pins = new Map((lock?.ranges ?? []).map((pin) => [rangeKey(pin), pin]));
  const isOpen = (range: VersionRange): boolean => update || !pins.has(rangeKey(range));
  const warnings = new Set<string>();
  const newestFor = async (range: VersionRange, upstream: UpstreamLists): Promise<Newest> => {
    const found = await newestUpstream(range, written, upstream);
    if (found.passedOver !== undefined) warnings.add(passedOverText(range, found));
    return found;
  };
  const choose = async (range: VersionRange, upstream: UpstreamLists): Promise<ChosenRange> => {
    const pin = pins.get(rangeKey(range));
    if (pin === undefined || isOpen(range)) return chosenNow(range, await newestFor(range, upstream), pin);
    if (!look) return { ...pin, pinned: true };
    try {
      const { versions } = await newestFor(range, upstream);
      return { ...pin, pinned: true, ...(isSame(pin, versions) ? {} : { update: versions }) };
    } catch (error) {
      if (!isCoded(error) || error.code === 'ABORTED') throw error;
      warnings.add(`what fetch --update would choose is unknown: ${messageOf(error)}`);
      return { ...pin, pinned: true };
    }
  };
  const lists = ranges.filter((range) => look || isOpen(range)).map(({ list }) => list);
  const chosen =
    ranges.length === 0
      ? []
      : await UpstreamLists.use(lists, network, scope, (upstream) =>
          Promise.all(ranges.map((range) => choose(range, upstream))),
        );
  return { mirror: withChosen(written, chosen), ranges: chosen, warnings: [...warnings] };
}

function isSame(pin: LockedRange, versions: readonly string[]): boolean {
  return pin.versions.join() === versions.join();
}

/** @param pin what lock.json has; one that names the same stays as it is */
function chosenNow(
  { list, range, newest }: VersionRange,
  { versions, passedOver }: Newest,
  pin: LockedRange | undefined,
): ChosenRange {
  if (pin !== undefined && isSame(pin, versions)) return { ...pin, pinned: true };
  return {
    ...{ list, range, newest, versions: [...versions], chosenAt: new Date().toISOString() },
    pinned: false,
    ...(pin === undefined ? {} : { replaced: pin.versions }),
    ...(passedOver === undefined ? {} : { passedOver }),
  };
}

/** @param chosen what all of its ranges stand for @throws CONFIG as chooseVersions */
export function withChosen(written: WrittenMirror, chosen: readonly LockedRange[]): Mirror {
  const byKey = new Map(chosen.map((one) => [rangeKey(one), one.versions]));
  return exactMirror(written, (range) => byKey.get(rangeKey(range)) ?? []);
}

/**
 * The same mirror.yaml with versions that there may not be: enough to tell which hosts a fetch of it needs.
 * @throws CONFIG
 */
export function withStandIns(written: WrittenMirror): Mirror {
  return exactMirror(written, (range) => {
    if (range.list !== talosList) return ['v1.0.0'];
    const known = newestOf(knownTalosVersions(), { ...range, newest: 1 });
    return known.length > 0 ? known : newestOf(knownTalosVersions(), { range: 'latest', newest: 1 });
  });
}

/** Each once, where it stands first. */
function rangesOf({ omni, talos, media, kubernetes, images }: WrittenMirror): readonly VersionRange[] {
  const all = [
    ...(omni?.versions ?? []),
    ...(talos?.versions ?? []),
    ...(talos?.imageFactory === undefined ? [] : [talos.imageFactory.version]),
    ...media.flatMap(({ versions }) => versions),
    ...(kubernetes?.versions ?? []),
    ...images.flatMap(({ tags }) => (tags === undefined ? [] : [tags])),
  ];
  const ranges = new Map<string, VersionRange>();
  for (const one of all) {
    if (typeof one === 'string' || ranges.has(rangeKey(one))) continue;
    ranges.set(rangeKey(one), one);
  }
  return [...ranges.values()];
}

/** Whether the images of a Talos version's clusters are known, where they are wanted. */
function isKnownTalos(version: string, { kubernetes }: WrittenMirror): boolean {
  return kubernetes === undefined || kubernetes.images.has(version) || knownTalosVersions().includes(version);
}

/** What a range may stand for: of Talos, versions that the table or mirror.yaml has the images of, where those are wanted. */
export function usableOf(
  list: string,
  offered: readonly string[],
  written: WrittenMirror,
): readonly string[] {
  if (list !== talosList) return offered;
  return offered.filter((version) => isKnownTalos(vPrefixed(version), written));
}

/** What upstream has for a range. */
interface Newest {
  /** Not empty. */
  readonly versions: readonly string[];
  /** A newer one, which cannot be carried. */
  readonly passedOver?: string;
}

/** @throws CONFIG where no version fits; as UpstreamLists.versions; with the place of the range */
async function newestUpstream(
  range: VersionRange,
  written: WrittenMirror,
  upstream: UpstreamLists,
): Promise<Newest> {
  const { list, place } = range;
  const failed = (code: CodedError['code'], what: string, cause?: CodedError): CodedError =>
    new CodedError(code, `${place}: ${printable(range.range)}: ${what}`, { cause, status: cause?.status });
  let offered: readonly string[];
  try {
    offered = await upstream.versions(list);
  } catch (cause) {
    if (!isCoded(cause) || cause.code === 'ABORTED') throw cause;
    throw failed(cause.code, messageOf(cause), cause);
  }
  const isTalos = list === talosList;
  const versions = newestOf(usableOf(list, offered, written), range).map((version) =>
    isTalos ? vPrefixed(version) : version,
  );
  const [newest] = newestOf(offered, range);
  if (versions[0] === undefined) {
    if (newest !== undefined) throw failed('CONFIG', messageOf(unknownImages(vPrefixed(newest))));
    const [latest] = newestOf(offered, { range: 'latest', newest: 1 });
    const hint = latest === undefined ? '' : `; the newest release is ${latest}`;
    throw failed('CONFIG', `no version of ${list} fits it${hint}`);
  }
  const isOlder = newest !== undefined && compareVersions(versions[0], newest) < 0;
  return { versions, ...(isOlder ? { passedOver: vPrefixed(newest) } : {}) };
}

function unknownImages(version: string): unknown {
  try {
    talosKubernetesImages(version);
    return undefined;
  } catch (error) {
    return error;
  }
}

function passedOverText({ range, place }: VersionRange, { versions, passedOver = '' }: Newest): string {
  const why = messageOf(unknownImages(passedOver));
  return `${place}: ${printable(range)}: ${versions[0]} is chosen, not the newer ${passedOver}: ${why}`;
}

/** @param versionsOf what a range stands for @throws CONFIG for a Talos version whose images are not known */
function exactMirror(written: WrittenMirror, versionsOf: (range: VersionRange) => readonly string[]): Mirror {
  const { omni, talos, media, kubernetes, images, talosctl, platforms, inside } = written;
  const exact = (versions: readonly (string | VersionRange)[]): readonly string[] => [
    ...new Set(versions.flatMap((one) => (typeof one === 'string' ? [one] : versionsOf(one).map(vPrefixed)))),
  ];
  for (const one of kubernetes === undefined ? [] : (talos?.versions ?? [])) {
    if (typeof one === 'string') continue;
    const unknown = versionsOf(one).find((version) => !isKnownTalos(version, written));
    if (unknown !== undefined) {
      throw new CodedError('CONFIG', `${one.place}: ${messageOf(unknownImages(unknown))}`);
    }
  }
  const [factoryVersion] = talos?.imageFactory === undefined ? [] : exact([talos.imageFactory.version]);
  return {
    omni: omni && { versions: exact(omni.versions) },
    ...(talos === undefined
      ? {}
      : {
          talos: {
            versions: exact(talos.versions),
            ...(talos.imageFactory === undefined || factoryVersion === undefined
              ? {}
              : { imageFactory: { ...talos.imageFactory, version: factoryVersion } }),
          },
        }),
    talosctl,
    media: media.map((one) => ({ ...one, versions: exact(one.versions) })),
    kubernetes: kubernetes && { ...kubernetes, versions: exact(kubernetes.versions) },
    images: images.flatMap(({ tags, ...image }) =>
      tags === undefined
        ? [image]
        : versionsOf(tags).map((tag) => ({ ...image, reference: `${image.reference}:${tag}` })),
    ),
    platforms,
    inside,
    lists: [...new Set(rangesOf(written).map(({ list }) => list))],
  };
}
