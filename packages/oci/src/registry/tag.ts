/**
 * A tag is moved to a manifest that is there.
 * Source: distribution-spec v1.1.1 spec.md#pushing-manifests. Fault F38.
 */
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { collectVerified, mismatch } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { maxManifestBytes } from '../model/manifest.ts';
import { isTag } from '../model/reference.ts';
import { fetchContent } from './content.ts';
import { type ManifestCache, putManifest, resolveName } from './manifest.ts';
import type { RepositoryView } from './session.ts';

/** A registry that has the manifest does not take the tag. */
export class TagRefused extends CodedError {}

/**
 * Lets a tag stand for a manifest that is there, and reads it back.
 * @throws TagRefused when the registry refuses it; BAD_NAME, DIGEST_MISMATCH, and as pulls
 */
export async function tagManifest(
  repository: RepositoryView,
  descriptor: Descriptor,
  tag: string,
  cache: ManifestCache,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!isTag(tag)) throw new CodedError('BAD_NAME', `not a tag: ${printable(tag)}`);
  const bytes =
    cache.get(descriptor.digest) ??
    (await collectVerified(
      fetchContent(repository, descriptor, 0, signal),
      descriptor,
      maxManifestBytes,
      `manifest ${descriptor.digest}`,
    ));
  try {
    await putManifest(repository, descriptor, tag, bytes, signal);
  } catch (error) {
    const isRefusal = isCoded(error, 'UPSTREAM', 'DENIED', 'NOT_FOUND') && (error.status ?? 500) < 500;
    if (!isRefusal) throw error;
    const { code, message, status } = error;
    throw new TagRefused(code, message, { cause: error, status });
  }
  const found = await resolveName(repository, tag, signal);
  if (found?.digest !== descriptor.digest) {
    const now = found === undefined ? 'nothing' : found.digest;
    throw mismatch(descriptor, `tagged as ${tag}, but the registry now answers ${now}`, repository.name);
  }
}
