/** What an increment no longer carries, by the versions that people know, read off the names in it. */
import type { BundleDocument } from '@omni-airgap/format';
import { printable } from '@omni-airgap/oci/base';
import { versionsOf } from '@omni-airgap/talos';
import { isCompanionName } from './attachments.ts';
import { shortList, tagOf } from './names.ts';

/** Names that an increment no longer carries. Signatures and the like are left out: they go with their images. */
export interface DroppedNames {
  /** Versions of which nothing is carried any more, with all their names. */
  readonly versions: readonly {
    readonly product: string;
    readonly version: string;
    readonly names: readonly string[];
  }[];
  readonly others: readonly string[];
}

/** What else has the tag of its product's version: imager and lists of Talos, the control plane of Kubernetes. */
const families: readonly (readonly [product: string, name: RegExp])[] = [
  ['Talos', /^(?:ghcr\.io\/siderolabs|factory\.talos\.dev)\//],
  ['Kubernetes', /^registry\.k8s\.io\/kube-[a-z-]+:/],
];

/** @param carried names of the increment @returns undefined for a full bundle */
export function droppedNames(
  changes: BundleDocument['changes'],
  carried: Iterable<string>,
): DroppedNames | undefined {
  if (changes === undefined) return undefined;
  const removed = changes.removed.filter((name) => !isCompanionName(name));
  const now = new Map(versionsOf(carried).map(({ product, versions }) => [product, versions]));
  const versions = versionsOf(removed).flatMap((one) =>
    one.versions
      .filter((version) => now.get(one.product)?.includes(version) !== true)
      .map((version) => ({
        product: one.product,
        version,
        names: removed.filter((name) => tagOf(name) === version && isOf(name, one.product)),
      })),
  );
  const grouped = new Set(versions.flatMap(({ names }) => names));
  return { versions, others: removed.filter((name) => !grouped.has(name)) };
}

/** A name that is of one product by itself is of no other's family. */
function isOf(name: string, product: string): boolean {
  const [own] = versionsOf([name]);
  if (own !== undefined) return own.product === product;
  return families.some(([of, pattern]) => of === product && pattern.test(name));
}

/** Whose upgrade a version waits for. */
const users: Readonly<Record<string, string>> = { Talos: 'clusters', Kubernetes: 'clusters' };
const mostNamed = 5;

/** Lines for people, one for each version and one for all others; none when nothing falls away. */
export function droppedText({ versions, others }: DroppedNames): readonly string[] {
  const lines = versions.map(
    ({ product, version, names }) =>
      `${product} ${version} is no longer carried (${names.length === 1 ? '1 name' : `${names.length} names`}): ${users[product] ?? 'sites'} on ${product} ${version} still need it until they are upgraded`,
  );
  if (others.length === 0) return lines;
  const isOne = others.length === 1;
  const named = shortList(
    others.map((name) => printable(name)),
    mostNamed,
  );
  return [
    ...lines,
    `${others.length} ${versions.length === 0 ? '' : 'other '}${isOne ? 'name is' : 'names are'} no longer carried: ${named}`,
  ];
}
