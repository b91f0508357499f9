/**
 * What the registry's reading routes ask: of an index in memory over files, or of another registry. Names are those of
 * clients; where content lies is not theirs to know.
 */
import { type Descriptor, type Digest, isRegistryHost } from '@omni-airgap/oci/model';
import type { Body, Request } from '../http/message.ts';

export interface FoundManifest {
  readonly descriptor: Descriptor;
  /** Verified. @throws DIGEST_MISMATCH, MISSING_CONTENT, DISK, and as Images */
  bytes(signal: AbortSignal): Promise<Uint8Array>;
}

/** What a client asks for. */
export interface Asked {
  readonly repository: string;
  /** The registry that a mirror is asked in place of, as containerd says it. */
  readonly ns: string | null;
  /** Only whether it is there, and its size, will be told. */
  readonly isHead: boolean;
  readonly signal: AbortSignal;
}

export function askedFor(repository: string, { query, method, signal }: Request): Asked {
  const ns = query.get('ns');
  const isHost = ns !== null && isRegistryHost(ns);
  return { repository, ns: isHost ? ns : null, isHead: method === 'HEAD', signal };
}

/** Every method may throw what the place of the content throws: DISK, or DENIED, UPSTREAM, NETWORK, ABORTED. */
export interface Images {
  /** @param reference a tag or a sha256 digest */
  manifest(asked: Asked, reference: string): Promise<FoundManifest | 'no repository' | 'absent'>;
  blob(asked: Asked, digest: Digest): Promise<Body | 'no repository' | 'absent'>;
  /** In byte order. */
  tags(asked: Asked): Promise<Iterable<string> | 'no repository'>;
  /** Empty for an unknown repository too. */
  referrers(asked: Asked, subject: Digest): Promise<readonly Descriptor[]>;
  /** Paths in byte order. */
  repositories(signal: AbortSignal): Promise<readonly string[] | 'not offered'>;
}
