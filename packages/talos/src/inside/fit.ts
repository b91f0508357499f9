/**
 * Which versions belong together, as far as the projects say it.
 * Sources: siderolabs/talos ad8823176 pkg/machinery/compatibility; siderolabs/omni v1.10.4
 * client/pkg/constants/constants.go (LatestSupportedTalosVersion, MinTalosVersion, from 1.9 on), internal/pkg/constants/
 * versions.go (DenylistedTalosVersions), internal/backend/runtime/omni/controllers/omni/versions.go (targetAllowed); the
 * Talos version that each siderolabs/image-factory release is built with (go.mod).
 */
import { compareVersions, parseVersion, vPrefixed } from '../version.ts';

export interface VersionSet {
  readonly omni?: string | undefined;
  readonly talos: readonly string[];
  readonly kubernetes: readonly string[];
  readonly factory?: string;
}

/** Kubernetes minors that each Talos minor takes, both included. */
const kubernetesOfTalos: ReadonlyMap<number, readonly [from: number, to: number]> = new Map([
  [9, [27, 32]],
  [10, [28, 33]],
  [11, [29, 34]],
  [12, [30, 35]],
  [13, [31, 36]],
  [14, [32, 37]],
]);
/** Lowest and highest Talos minor that each Omni minor manages. */
const talosOfOmni: ReadonlyMap<number, readonly [from: number, to: number]> = new Map([
  [9, [9, 13]],
  [10, [9, 13]],
]);
/** Newest Talos minor that each Image Factory minor knows. */
const talosOfFactory: ReadonlyMap<number, number> = new Map([
  [0, 13],
  [1, 13],
  [2, 13],
  [3, 13],
  [4, 14],
  [5, 14],
]);

/** Talos versions that Omni never offers, and why. */
const deniedTalos: ReadonlyMap<string, string> = new Map([
  ['1.13.1', 'kernel modules that come as extensions do not load'],
]);
/** The first Omni minor with this list. */
const deniedSince = 8;

/** Why Omni never offers a Talos version; undefined when it does. @throws BAD_VERSION */
export function denialOf(talosVersion: string): string | undefined {
  return deniedTalos.get(vPrefixed(talosVersion).slice(1));
}

/** True for a Talos version that Omni offers only when it is started with its flag for pre-releases. @throws BAD_VERSION */
export function needsPrereleases(talosVersion: string): boolean {
  return parseVersion(talosVersion).prerelease !== '';
}

/** The flag of Omni that makes it offer pre-releases of Talos. */
export const prereleaseFlag = '--enable-talos-pre-release-versions';

/**
 * One line for each pair that does not fit; nothing is said of versions that are not known here.
 * @throws BAD_VERSION
 */
export function fitWarnings({ omni, talos, kubernetes, factory }: VersionSet): readonly string[] {
  const warnings: string[] = [];
  for (const talosVersion of talos) {
    const { major, minor } = parseVersion(talosVersion);
    if (major !== 1) continue;
    warnings.push(...kubernetesWarnings(talosVersion, minor, kubernetes));
    const unmet = omni === undefined ? undefined : notOffered(talosVersion, { omni });
    if (unmet !== undefined) warnings.push(unmet);
    if (factory !== undefined) {
      const newest = talosOfFactory.get(minorOf(factory));
      if (newest !== undefined && minor > newest) {
        warnings.push(
          `Image Factory ${vPrefixed(factory)} was made for Talos up to 1.${newest} and may not build ${vPrefixed(talosVersion)}`,
        );
      }
    }
  }
  return warnings;
}

function minorOf(version: string): number {
  const { major, minor } = parseVersion(version);
  return major === 1 ? minor : Number.NaN;
}

function kubernetesWarnings(
  talosVersion: string,
  talosMinor: number,
  kubernetes: readonly string[],
): readonly string[] {
  const range = kubernetesOfTalos.get(talosMinor);
  if (range === undefined) return [];
  const [from, to] = range;
  return kubernetes
    .filter(
      (version) => compareVersions(version, `1.${from}.0`) < 0 || compareVersions(version, `1.${to}.99`) > 0,
    )
    .map(
      (version) =>
        `Talos ${vPrefixed(talosVersion)} takes Kubernetes 1.${from} to 1.${to}, not ${vPrefixed(version)}`,
    );
}

/** What is known of the Omni that is to offer versions for clusters. */
export interface OmniOffer {
  /** Undefined when its version is not known. */
  readonly omni?: string | undefined;
  /** It is started with its flag for pre-releases. */
  readonly preReleases?: boolean | undefined;
}

/**
 * Why Omni does not offer a Talos version for clusters.
 * @returns undefined when it does, as far as is known
 * @throws BAD_VERSION
 */
export function notOffered(
  talosVersion: string,
  { omni, preReleases = false }: OmniOffer,
): string | undefined {
  const version = vPrefixed(talosVersion);
  const { minor } = parseVersion(version);
  const subject = omni === undefined ? 'Omni' : `Omni ${vPrefixed(omni)}`;
  if (omni !== undefined) {
    const [from, to] = talosOfOmni.get(minorOf(omni)) ?? [minor, minor];
    // Pre-releases of the minor after the highest count as managed.
    const highest = needsPrereleases(version) ? to + 1 : to;
    if (minor < from || minor > highest)
      return `${subject} manages Talos 1.${from} to 1.${to}, not ${version}`;
    const denial = minorOf(omni) >= deniedSince ? denialOf(version) : undefined;
    if (denial !== undefined)
      return `${subject} never offers Talos ${version} (${denial}); carry another patch release`;
  }
  return needsPrereleases(version) && !preReleases
    ? `${subject} offers the pre-release Talos ${version} only when started with ${prereleaseFlag}`
    : undefined;
}

/**
 * Returns the newest versions that Omni offers together; undefined where none can be used.
 * @param versions each list with the newest last
 * @throws BAD_VERSION
 */
export function newestOffered(
  { talos, kubernetes }: Pick<VersionSet, 'talos' | 'kubernetes'>,
  offer: OmniOffer,
): { readonly talos: string | undefined; readonly kubernetes: string | undefined } {
  const offered = talos.filter((version) => notOffered(version, offer) === undefined);
  const newestFor = (version: string): string | undefined =>
    kubernetes.findLast((one) => kubernetesWarnings(version, minorOf(version), [one]).length === 0);
  const newest = offered.findLast((version) => newestFor(version) !== undefined) ?? offered.at(-1);
  return { talos: newest, kubernetes: newest === undefined ? kubernetes.at(-1) : newestFor(newest) };
}
