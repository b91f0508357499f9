/**
 * Which names several bundles have together. Of one store, a name that a newer bundle no longer lists is still served, unless a newer
 * one withdraws it; what a name stands for is what the newest bundle that lists it says. Bundles of different stores have
 * numbers that cannot be compared: an older name of one store never replaces a current name of another.
 */
import type { BundleDocument } from '@omni-airgap/format';
import type { Descriptor } from '@omni-airgap/oci/model';

type NamedBundle = Pick<BundleDocument, 'id' | 'origin' | 'sequence' | 'roots' | 'withdraws'>;

interface UnitedName<B> {
  readonly descriptor: Descriptor;
  /** That the name comes from. */
  readonly bundle: B;
  /** False for a name of the newest bundle of its store. */
  readonly isOlder: boolean;
}

/** A name that bundles of two stores have with different content. */
interface Clash<B> {
  readonly name: string;
  /** Whose content the name stands for. */
  readonly served: B;
  readonly other: B;
}

export interface NameUnion<B> {
  readonly names: ReadonlyMap<string, UnitedName<B>>;
  readonly clashes: readonly Clash<B>[];
}

/**
 * @param bundles the newest first
 * @param newestOnly of each store, only the names of its newest bundle
 */
export function unionOf<B extends NamedBundle>(bundles: readonly B[], newestOnly: boolean): NameUnion<B> {
  const current: (readonly [string, UnitedName<B>])[] = [];
  const older: (readonly [string, UnitedName<B>])[] = [];
  /** By store: names that a newer bundle lists or withdraws. */
  const decided = new Map<string, Set<string>>();
  for (const bundle of bundles) {
    const known = decided.get(bundle.origin);
    const isOlder = known !== undefined;
    if (isOlder && newestOnly) continue;
    const own = known ?? new Set<string>();
    decided.set(bundle.origin, own);
    for (const { name, descriptor } of bundle.roots) {
      if (own.has(name)) continue;
      (isOlder ? older : current).push([name, { descriptor, bundle, isOlder }]);
    }
    for (const { name } of bundle.roots) own.add(name);
    for (const name of bundle.withdraws ?? []) own.add(name);
  }
  const names = new Map<string, UnitedName<B>>();
  const clashes: Clash<B>[] = [];
  for (const [name, united] of [...current, ...older]) {
    const first = names.get(name);
    if (first === undefined) names.set(name, united);
    else if (first.descriptor.digest !== united.descriptor.digest)
      clashes.push({ name, served: first.bundle, other: united.bundle });
  }
  return { names, clashes };
}
