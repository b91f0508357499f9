/**
 * Upgrade paths: which versions a site needs on its way from what it has to what is carried, and which of its versions are
 * carried no more. The rules are those of the vendors' documents, as data.
 */
import type { ProductVersions } from '../images/products.ts';
import { compareVersions, parseVersion } from '../version.ts';
import { fitWarnings } from './fit.ts';

interface UpgradeRule {
  readonly product: string;
  /** Whether each step goes to the latest patch of its minor release, the one that is left included. */
  readonly latestPatches: boolean;
  /** Where the vendor says that no minor release is skipped. */
  readonly source: string;
}

const rules: readonly UpgradeRule[] = [
  {
    product: 'Omni',
    latestPatches: false,
    source: 'https://docs.siderolabs.com/omni/self-hosted/upgrading-omni',
  },
  {
    product: 'Talos',
    latestPatches: true,
    source:
      'https://docs.siderolabs.com/talos/latest/configure-your-talos-cluster/lifecycle-management/upgrading-talos',
  },
  {
    product: 'Kubernetes',
    latestPatches: false,
    source: 'https://kubernetes.io/releases/version-skew-policy/#kube-apiserver',
  },
];

export interface UpgradePath {
  readonly product: string;
  /** The oldest version inside: what was loaded last may all be in use. */
  readonly from: string;
  /** The newest that is carried. */
  readonly to: string;
  /** From `from` to `to`, both included, the versions to add among them. */
  readonly steps: readonly string[];
  /** Minor releases such as `v1.12` of which neither the site nor the set has a version. */
  readonly skipped: readonly string[];
  /** Versions to carry besides, the oldest first. */
  readonly add: readonly string[];
  /** Of `skipped`, those that upstream lists no version of. */
  readonly unavailable: readonly string[];
  /** Document of the rule. */
  readonly source: string;
}

/** Products whose newest carried minor release is newer than the oldest inside: those that have a path. */
export function productsToUpgrade(
  inside: readonly ProductVersions[],
  carried: readonly ProductVersions[],
): readonly string[] {
  return rules
    .map(({ product }) => product)
    .filter((product) => endsOf(product, inside, carried) !== undefined);
}

/**
 * @param inside what the site has, @param carried what is to come
 * @param offered versions that can be carried, by product; pre-releases among them are not proposed
 */
export function upgradePaths(
  inside: readonly ProductVersions[],
  carried: readonly ProductVersions[],
  offered: ReadonlyMap<string, readonly string[]>,
): readonly UpgradePath[] {
  return rules.flatMap((rule) => {
    const { product } = rule;
    const ends = endsOf(product, inside, carried);
    if (ends === undefined) return [];
    const { from, to } = ends;
    const there = [...versionsIn(inside, product), ...versionsIn(carried, product)];
    const listed = offered.get(product) ?? [];
    const steps = [from];
    const skipped: string[] = [];
    const unavailable: string[] = [];
    const { major } = parseVersion(from);
    for (let minor = parseVersion(from).minor; minor < parseVersion(to).minor; minor++) {
      const own = newest(there, major, minor);
      const latest = newest(listed.filter(isRelease), major, minor);
      if (own === undefined) skipped.push(`v${major}.${minor}`);
      if (own === undefined && latest === undefined) unavailable.push(`v${major}.${minor}`);
      const isOld = own !== undefined && latest !== undefined && compareVersions(own, latest) < 0;
      const step = own === undefined || (rule.latestPatches && isOld) ? latest : own;
      if (step !== undefined && step !== from) steps.push(step);
    }
    steps.push(to);
    const add = steps.filter((version) => !there.includes(version));
    return [{ product, from, to, steps, skipped, add, unavailable, source: rule.source }];
  });
}

export interface UpgradeStep {
  readonly product: string;
  readonly version: string;
}

/**
 * All steps of the paths in an order that keeps to pairs which fit, as far as they are known: after each step Omni manages the
 * Talos version, and that takes the Kubernetes version. Omni comes as early as it can, then Talos.
 * @param inside what the site has: products without a path stay as they are
 * @returns undefined where there is no such order
 */
export function upgradeOrder(
  paths: readonly UpgradePath[],
  inside: readonly ProductVersions[],
): readonly UpgradeStep[] | undefined {
  const steps = rules.map(({ product }) => {
    const path = paths.find((one) => one.product === product);
    return { product, versions: path?.steps ?? versionsIn(inside, product).slice(-1) };
  });
  const at = (state: readonly number[], product: string): string | undefined => {
    const i = steps.findIndex((one) => one.product === product);
    return steps[i]?.versions[state[i] ?? 0];
  };
  const fits = (state: readonly number[]): boolean => {
    const listOf = (product: string): string[] => [at(state, product)].filter((one) => one !== undefined);
    return (
      fitWarnings({
        omni: at(state, 'Omni'),
        talos: listOf('Talos'),
        kubernetes: listOf('Kubernetes'),
      }).length === 0
    );
  };
  const isEnd = (state: readonly number[]): boolean =>
    steps.every(({ versions }, i) => (state[i] ?? 0) >= versions.length - 1);
  const tried = new Set<string>();
  const from = (state: readonly number[]): readonly UpgradeStep[] | undefined => {
    if (isEnd(state)) return [];
    if (tried.has(state.join())) return undefined;
    tried.add(state.join());
    for (const [i, { product, versions }] of steps.entries()) {
      const version = versions[(state[i] ?? 0) + 1];
      if (version === undefined) continue;
      const next = state.map((n, j) => (i === j ? n + 1 : n));
      const rest = fits(next) ? from(next) : undefined;
      if (rest !== undefined) return [{ product, version }, ...rest];
    }
    return undefined;
  };
  return from(steps.map(() => 0));
}

/** Versions inside that are carried no more: what runs on them finds nothing new for itself. */
export function leavingVersions(
  inside: readonly ProductVersions[],
  carried: readonly ProductVersions[],
): readonly ProductVersions[] {
  return inside.flatMap(({ product, versions }) => {
    const left = versions.filter((version) => !versionsIn(carried, product).includes(version));
    return left.length === 0 ? [] : [{ product, versions: left }];
  });
}

/** Undefined where no minor release lies ahead; another major release has no rule. */
function endsOf(
  product: string,
  inside: readonly ProductVersions[],
  carried: readonly ProductVersions[],
): { readonly from: string; readonly to: string } | undefined {
  const from = versionsIn(inside, product)[0];
  const to = versionsIn(carried, product).at(-1);
  if (from === undefined || to === undefined) return undefined;
  const [a, b] = [parseVersion(from), parseVersion(to)];
  return a.major === b.major && a.minor < b.minor ? { from, to } : undefined;
}

function versionsIn(list: readonly ProductVersions[], product: string): readonly string[] {
  return list.find((one) => one.product === product)?.versions.toSorted(compareVersions) ?? [];
}

function newest(versions: readonly string[], major: number, minor: number): string | undefined {
  return versions
    .filter((version) => {
      const parsed = parseVersion(version);
      return parsed.major === major && parsed.minor === minor;
    })
    .sort(compareVersions)
    .at(-1);
}

function isRelease(version: string): boolean {
  return parseVersion(version).prerelease === '';
}
