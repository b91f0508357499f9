/** Everything below a manifest: what makes up an image, however many platforms it has. */

import { CodedError } from './base/errors.ts';
import type { Descriptor } from './model/descriptor.ts';
import type { Digest } from './model/digest.ts';
import { childrenOf, fetchManifest } from './model/manifest.ts';
import { isManifestType } from './model/media-type.ts';
import type { Fetcher } from './storage.ts';

const maxDescriptors = 10_000;

export interface WalkOptions {
  /** Which children of an index belong; see CopyOptions.select. Default: all. */
  readonly select?: (child: Descriptor, index: Descriptor) => boolean | Promise<boolean>;
  readonly signal?: AbortSignal;
}

/**
 * The descriptors of `root` and all it points at, each once; manifests are read from `source`.
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT and the source's errors
 */
export async function collectGraph(
  source: Fetcher,
  root: Descriptor,
  options: WalkOptions = {},
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const found = new Map<Digest, Descriptor>();
  const waiting: Descriptor[] = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next.digest)) continue;
    if (found.size > maxDescriptors) {
      throw new CodedError(
        'BAD_DOCUMENT',
        `${root.digest}: more than ${maxDescriptors} descriptors below it`,
      );
    }
    found.set(next.digest, next);
    if (!isManifestType(next.mediaType)) continue;
    const { manifest } = await fetchManifest(source, next, options.signal);
    for (const child of childrenOf(manifest)) {
      if (manifest.kind === 'image' || ((await options.select?.(child, next)) ?? true)) waiting.push(child);
    }
  }
  return found;
}
