/** Which of the things that a kind of registry may refuse are in content, as far as its descriptors tell. */
import { type Descriptor, isIndexType, MediaType } from '../model/index.ts';
import type { Refused } from './kinds.ts';

const dockerTypes: readonly string[] = [MediaType.dockerManifest, MediaType.dockerList];
const ociTypes: readonly string[] = [MediaType.ociManifest, MediaType.ociIndex];

/**
 * @param content all descriptors of one graph, its root included
 * @param traits `isSparse`: some platforms of an index are left out; `isReferrer`: it is found by its subject alone
 */
export function shapesOf(
  content: Iterable<Descriptor>,
  { isSparse, isReferrer }: { readonly isSparse: boolean; readonly isReferrer: boolean },
): readonly Refused[] {
  const types = new Set([...content].map(({ mediaType }) => mediaType));
  const has = (list: readonly string[]): boolean => list.some((type) => types.has(type));
  const isIndex = [...types].some(isIndexType);
  return [
    ...(has(dockerTypes) ? (['docker'] as const) : []),
    ...(types.has(MediaType.empty) ? (['artifact'] as const) : []),
    ...(isIndex ? (['index'] as const) : []),
    ...(isIndex && has(dockerTypes) && has(ociTypes) ? (['mixed'] as const) : []),
    ...(isIndex && isSparse ? (['sparse'] as const) : []),
    ...(isReferrer ? (['referrer'] as const) : []),
  ];
}
