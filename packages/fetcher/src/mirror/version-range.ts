/**
 * Versions that mirror.yaml leaves to upstream: `v1.13.x`, `~1.36`, `latest`, in the notation of npm. A range stands for the
 * newest version that fits it, and never for a pre-release that it does not name.
 * Source: github.com/npm/node-semver README.md#ranges, #prerelease-tags.
 */
import { parseReference } from '@omni-airgap/oci/model';
import {
  compareVersions,
  imageFactoryImage,
  isVersion,
  kubernetesImages,
  omniImage,
  publicFactoryHost,
  versionsPath,
} from '@omni-airgap/talos';
// One by one: all of the library is twice as many modules.
import satisfies from 'semver/functions/satisfies.js';
import minVersion from 'semver/ranges/min-version.js';
import validRange from 'semver/ranges/valid.js';

const repositoryOf = (reference = ''): string => {
  const { registry, repository } = parseReference(reference);
  return `${registry}/${repository}`;
};
/** Where upstream lists versions. Omni offers the Kubernetes versions of the kubelet's repository: that list decides. */
export const talosList: string = `${publicFactoryHost}/${versionsPath}`;

/** The host that is asked for a list. */
export function hostOfList(list: string): string {
  return list.slice(0, list.indexOf('/'));
}
export const omniList: string = repositoryOf(omniImage('v1.0.0'));
export const factoryList: string = repositoryOf(imageFactoryImage('v1.0.0'));
export const kubernetesList: string = repositoryOf(kubernetesImages('v1.0.0')[0]);

const labels: ReadonlyMap<string, string> = new Map([
  [talosList, 'Talos'],
  [kubernetesList, 'Kubernetes'],
  [omniList, 'Omni'],
  [factoryList, 'Image Factory'],
]);

/** What people call that which a list has versions of: a product, or the repository. */
export function labelOf(list: string): string {
  return labels.get(list) ?? list;
}

export interface VersionRange {
  /** Where upstream lists the versions: `factory.talos.dev/versions`, or a repository such as `ghcr.io/siderolabs/kubelet`. */
  readonly list: string;
  /** As written. */
  readonly range: string;
  /** How many of the newest versions that fit are wanted. */
  readonly newest: number;
  /** FILE:LINE:COLUMN, for messages. */
  readonly place: string;
}

/** Long enough for several alternatives; what is longer is no range. */
const maxLength = 100;
/** Without one of these a text names one version, or a part of one that was forgotten. */
const operator = /[x*~^<>=|]| - /i;

/** Whether a text names the newest release of all, or has an operator and is a range that some version fits. */
export function isRange(text: string): boolean {
  if (text === 'latest') return true;
  if (text.length > maxLength || !operator.test(text)) return false;
  return isSatisfiable(text);
}

/** Whether a text is a range of npm that some version fits; one version is such a range too. */
export function isSatisfiable(text: string): boolean {
  if (text.trim() === '' || text.length > maxLength || validRange(text) === null) return false;
  try {
    return minVersion(text) !== null;
  } catch {
    // Numbers beyond what it computes with.
    return false;
  }
}

/** @param version with or without the leading `v` */
export function fits(version: string, { range }: Pick<VersionRange, 'range'>): boolean {
  return isVersion(version) && satisfies(version, range === 'latest' ? '*' : range);
}

/**
 * The newest versions that fit a range, the newest first.
 * @param offered versions or tags; what is no version is skipped. Of `1.2.3` and `v1.2.3`, which are one version, the
 *   first is taken
 */
export function newestOf(
  offered: Iterable<string>,
  range: Pick<VersionRange, 'range' | 'newest'>,
): readonly string[] {
  const versions = new Map<string, string>();
  for (const tag of offered) {
    const version = tag.replace(/^v/, '');
    if (fits(tag, range) && !versions.has(version)) versions.set(version, tag);
  }
  return [...versions.values()].sort((a, b) => compareVersions(b, a)).slice(0, range.newest);
}

/** Where the same is asked twice, the answer is one. */
export function rangeKey({ list, range, newest }: Pick<VersionRange, 'list' | 'range' | 'newest'>): string {
  return `${list} ${newest} ${range}`;
}
