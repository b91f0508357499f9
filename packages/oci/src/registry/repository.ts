/** One repository of a registry as a store: content by digest, names that are tags. */
import type { Descriptor } from '../model/descriptor.ts';
import type { Digest } from '../model/digest.ts';
import { isManifestType } from '../model/media-type.ts';
import type {
  Bytes,
  Mounter,
  OpenBytes,
  PushResult,
  RangeFetcher,
  ReferrerLister,
  Target,
} from '../storage.ts';
import { ManifestCache, pushManifest, tagManifest } from './manifests.ts';
import { mountBlob } from './mount.ts';
import { fetchContent, hasContent } from './pull.ts';
import { listReferrers } from './referrers.ts';
import { removeContent } from './remove.ts';
import type { RepositorySession } from './repository-session.ts';
import { resolveName } from './resolve.ts';
import { listTags } from './tags.ts';
import { pushBlob } from './upload.ts';
import { probeUpload } from './upload-session.ts';

export class RepositoryClient implements Target, RangeFetcher, Mounter, ReferrerLister {
  readonly #session: RepositorySession;
  readonly #pushed = new ManifestCache();

  constructor(session: RepositorySession) {
    this.#session = session;
  }

  /** Host of the registry as in references. */
  get registry(): string {
    return this.#session.registry.host;
  }

  /** Path below the host. */
  get path(): string {
    return this.#session.path;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return fetchContent(this.#session, descriptor, 0, signal);
  }

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return fetchContent(this.#session, descriptor, offset, signal);
  }

  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return hasContent(this.#session, descriptor, { signal });
  }

  /** @param name tag or digest */
  resolve(name: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    return resolveName(this.#session, name, signal);
  }

  push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    if (!isManifestType(descriptor.mediaType)) return pushBlob(this.#session, descriptor, open, signal);
    return pushManifest(this.#session, descriptor, open, this.#pushed, signal);
  }

  tag(descriptor: Descriptor, name: string, signal?: AbortSignal): Promise<void> {
    return tagManifest(this.#session, descriptor, name, this.#pushed, signal);
  }

  mount(descriptor: Descriptor, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return mountBlob(this.#session, descriptor, fromRepository, signal);
  }

  /** Shows whether this repository may be pushed to, without storing anything. @throws DENIED, NOT_FOUND, … */
  probePush(signal?: AbortSignal): Promise<void> {
    return probeUpload(this.#session, signal);
  }

  /** Deletes content by its digest. False where the registry deletes nothing. @throws DENIED, UPSTREAM, NETWORK */
  remove(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>, signal?: AbortSignal): Promise<boolean> {
    return removeContent(this.#session, descriptor, signal);
  }

  referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[]> {
    return listReferrers(this.#session, digest, signal);
  }

  /** Tags in the registry's order. @throws NOT_FOUND for a repository that does not exist */
  tags(signal?: AbortSignal): AsyncIterable<string> {
    return listTags(this.#session, signal);
  }
}
