/**
 * A registry over the HTTP gate, and one of its repositories as a store: content by digest, names that are tags.
 * Source: opencontainers/distribution-spec v1.1.1, one file here for each of its nouns.
 */
import { randomBytes } from 'node:crypto';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { collectVerified } from '../model/bytes.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { type Digest, digestOf } from '../model/digest.ts';
import { maxManifestBytes, parseManifest } from '../model/manifest.ts';
import { isManifestType } from '../model/media-type.ts';
import { isRegistryHost, isRepository } from '../model/reference.ts';
import type {
  Bytes,
  Mounter,
  OpenBytes,
  PushResult,
  RangeFetcher,
  ReferrerLister,
  Target,
} from '../storage.ts';
import { mountBlob, probeUpload, pushBlob } from './blob.ts';
import {
  blobSize,
  deleteManifest,
  fetchContent,
  hasContent,
  removeContent,
  requestDeletion,
} from './content.ts';
import { type Reclaiming, type Refused, reclaimingOf } from './kinds.ts';
import { ManifestCache, type NamedManifest, pushManifest, readNamed, resolveName } from './manifest.ts';
import { listRepositories, listTags } from './name-list.ts';
import { ping } from './ping.ts';
import { listReferrers, pushReferrer, type ReferrerOptions } from './referrer.ts';
import { type RegistryOptions, RegistrySession, RepositoryView } from './session.ts';
import { tagManifest } from './tag.ts';

/** One registry: a session for log-in, retries and what was learned about it, shared by its repositories. */
export class RegistryClient {
  /** As in references: `ghcr.io`, `registry.lab:5000`. */
  readonly host: string;
  readonly #session: RegistrySession;
  readonly #pushed = new ManifestCache();

  /** @throws BAD_NAME for a malformed host */
  constructor(options: RegistryOptions) {
    if (!isRegistryHost(options.host)) {
      throw new CodedError('BAD_NAME', `not a registry host: ${printable(options.host)}`);
    }
    this.host = options.host;
    this.#session = new RegistrySession(options);
  }

  /**
   * Checks that a registry answers and lets us in.
   * @param repository one that is used later: credentials may be for a part of the registry only
   * @throws DENIED, UPSTREAM, NETWORK, EGRESS_DENIED
   */
  ping(repository = '', signal?: AbortSignal): Promise<void> {
    return ping(this.#session, repository, signal);
  }

  /**
   * What to do about a refusal, by the kind of registry that this is.
   * @param error the refusal: its status, and the registry's words in its message
   * @returns undefined where nothing is known that fits them
   */
  remedyFor(what: Refused, error: Pick<CodedError, 'status' | 'message'>): string | undefined {
    return this.#session.remedyFor(what, error);
  }

  /** How this registry frees space after deletions: as its kind does, or each kind that it may be. By name of the kind. */
  get reclaiming(): ReadonlyMap<string, Reclaiming> {
    return reclaimingOf(this.#session.kind);
  }

  /** Where its API is asked: scheme, host and port. */
  get origin(): URL {
    return this.#session.origin;
  }

  /** Paths of the repositories, in the registry's order. @throws DENIED, NOT_FOUND, UPSTREAM where it lists none */
  repositories(signal?: AbortSignal): AsyncIterable<string> {
    return listRepositories(this.#session, signal);
  }

  /** @param path such as `siderolabs/omni` @throws BAD_NAME */
  repository(path: string): RepositoryClient {
    if (!isRepository(path)) throw new CodedError('BAD_NAME', `not a repository path: ${printable(path)}`);
    return new RepositoryClient(new RepositoryView(this.#session, path), this.#pushed);
  }
}

/**
 * One repository of a registry, as a store that copies read from and write to. What the interfaces in storage.ts
 * promise holds here; every method may also throw DENIED, UPSTREAM, NETWORK, EGRESS_DENIED and ABORTED.
 */
export class RepositoryClient implements Target, RangeFetcher, Mounter, ReferrerLister {
  readonly #view: RepositoryView;
  readonly #pushed: ManifestCache;

  /** @param pushed shared by the repositories of a registry */
  constructor(view: RepositoryView, pushed: ManifestCache) {
    this.#view = view;
    this.#pushed = pushed;
  }

  /** Host of the registry as in references. */
  get registry(): string {
    return this.#view.registry.host;
  }

  /** Path below the host. */
  get path(): string {
    return this.#view.path;
  }

  fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    return fetchContent(this.#view, descriptor, 0, signal);
  }

  fetchFrom(descriptor: Descriptor, offset: number, signal?: AbortSignal): Bytes {
    return fetchContent(this.#view, descriptor, offset, signal);
  }

  /** Like fetch, from byte `offset` up to byte `end`, which is left out. */
  fetchRange(descriptor: Descriptor, offset: number, end: number, signal?: AbortSignal): Bytes {
    return fetchContent(this.#view, descriptor, offset, signal, end);
  }

  /** Bytes of a blob; undefined when it is not there. */
  blobSize(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    return blobSize(this.#view, digest, signal);
  }

  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return hasContent(this.#view, descriptor, { signal });
  }

  /** @param name tag or digest */
  resolve(name: string, signal?: AbortSignal): Promise<Descriptor | undefined> {
    return resolveName(this.#view, name, signal);
  }

  /** resolve, with the bytes: they have the digest. @param name tag or digest */
  read(name: string, signal?: AbortSignal): Promise<NamedManifest | undefined> {
    return readNamed(this.#view, name, signal);
  }

  async push(descriptor: Descriptor, open: OpenBytes, signal?: AbortSignal): Promise<PushResult> {
    const { digest, mediaType } = descriptor;
    if (!isManifestType(mediaType)) return pushBlob(this.#view, descriptor, open, signal);
    const what = `manifest ${digest}`;
    const bytes = await collectVerified(open(), descriptor, maxManifestBytes, what);
    const manifest = parseManifest(bytes, mediaType, what);
    const subject = manifest.subject?.digest;
    this.#pushed.add(digest, bytes);
    return subject === undefined
      ? pushManifest(this.#view, descriptor, bytes, signal)
      : pushReferrer(this.#view, { descriptor, manifest, subject, bytes }, signal);
  }

  tag(descriptor: Descriptor, name: string, signal?: AbortSignal): Promise<void> {
    return tagManifest(this.#view, descriptor, name, this.#pushed, signal);
  }

  mount(descriptor: Descriptor, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return mountBlob(this.#view, descriptor, fromRepository, signal);
  }

  /** Shows whether this repository may be pushed to, without storing anything. @throws DENIED, NOT_FOUND, … */
  probePush(signal?: AbortSignal): Promise<void> {
    return probeUpload(this.#view, signal);
  }

  /** Deletes content by its digest. False where the registry deletes nothing. @throws DENIED, UPSTREAM, NETWORK */
  remove(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>, signal?: AbortSignal): Promise<boolean> {
    return removeContent(this.#view, descriptor, signal);
  }

  /**
   * Deletes a manifest, and the tags that stand for it.
   * @returns false for one that was not there
   * @throws DENIED; UPSTREAM with status 405 where deletions are switched off, and for a manifest that stays; NETWORK
   */
  delete(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return deleteManifest(this.#view, descriptor, signal);
  }

  /** Shows whether manifests can be deleted here, by asking for one that cannot exist. @throws as delete */
  async probeDelete(signal?: AbortSignal): Promise<void> {
    await requestDeletion(this.#view, digestOf(randomBytes(32)), signal);
  }

  /** @param onPage see ReferrerOptions @throws UPSTREAM for a web page unless `onPage` takes it */
  referrers(
    digest: Digest,
    signal?: AbortSignal,
    onPage?: ReferrerOptions['onPage'],
  ): Promise<readonly Descriptor[]> {
    return listReferrers(this.#view, digest, { onPage, signal });
  }

  /** Tags in the registry's order. @throws NOT_FOUND for a repository that does not exist */
  tags(signal?: AbortSignal): AsyncIterable<string> {
    return listTags(this.#view, signal);
  }
}
