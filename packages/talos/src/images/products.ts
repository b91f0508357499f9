/** Which versions of what people know by name a set of names brings. */
import { compareVersions, isVersion } from '../version.ts';

export interface ProductVersions {
  readonly product: string;
  /** Such as `v1.13.9`; the oldest first. */
  readonly versions: readonly string[];
}

const version = '(v[0-9][A-Za-z0-9._-]*)$';
const products: readonly (readonly [product: string, name: RegExp])[] = [
  ['Omni', new RegExp(`^ghcr\\.io/siderolabs/omni:${version}`)],
  [
    'Talos',
    new RegExp(
      `/(?:imager|talos-media/[a-f0-9]{64}|[a-z0-9-]*installer(?:-secureboot)?(?:/[a-f0-9]{64})?):${version}`,
    ),
  ],
  ['Kubernetes', new RegExp(`^ghcr\\.io/siderolabs/kubelet:${version}`)],
  ['Image Factory', new RegExp(`^ghcr\\.io/siderolabs/image-factory:${version}`)],
];

/** Products of which there is nothing are left out. */
export function versionsOf(names: Iterable<string>): readonly ProductVersions[] {
  const found = new Map<string, Set<string>>();
  for (const name of names) {
    for (const [product, pattern] of products) {
      const [, text] = pattern.exec(name) ?? [];
      if (text !== undefined && isVersion(text))
        found.set(product, (found.get(product) ?? new Set()).add(text));
    }
  }
  return products.flatMap(([product]) => {
    const versions = [...(found.get(product) ?? [])].sort(compareVersions);
    return versions.length === 0 ? [] : [{ product, versions }];
  });
}
