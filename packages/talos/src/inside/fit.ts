/**
 * Which versions belong together, as far as the projects say it.
 * Sources: siderolabs/talos ad8823176 pkg/machinery/compatibility; siderolabs/omni v1.10.4
 * client/pkg/constants/constants.go (LatestSupportedTalosVersion, MinTalosVersion, from 1.9 on), internal/pkg/constants/
 * versions.go (DenylistedTalosVersions), internal/backend/runtime/omni/controllers/omni/versions.go (pre-releases); the
 * Talos version that each siderolabs/image-factory release is built with (go.mod).
 */
import { compareVersions, parseVersion, vPrefixed } from '../version.ts';

export interface VersionSet {
  readonly omni?: string;
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
    if (omni !== undefined) warnings.push(...omniWarnings(omni, talosVersion, minor));
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

function omniWarnings(omni: string, talosVersion: string, talosMinor: number): readonly string[] {
  const version = vPrefixed(talosVersion);
  const [from, to] = talosOfOmni.get(minorOf(omni)) ?? [talosMinor, talosMinor];
  if (talosMinor < from || talosMinor > to)
    return [`Omni ${vPrefixed(omni)} manages Talos 1.${from} to 1.${to}, not ${version}`];
  const denial = minorOf(omni) >= deniedSince ? denialOf(version) : undefined;
  if (denial !== undefined)
    return [`Omni ${vPrefixed(omni)} never offers Talos ${version} (${denial}); carry another patch release`];
  return needsPrereleases(version)
    ? [
        `Omni ${vPrefixed(omni)} offers the pre-release Talos ${version} only when started with ${prereleaseFlag}`,
      ]
    : [];
}
