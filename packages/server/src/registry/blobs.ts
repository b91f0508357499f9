/**
 * Blobs: pulled with ranges, straight from the files they lie in. Content is the same in every repository, so a
 * blob is found in each of them; that is also what makes a mount.
 * Source: distribution-spec v1.1.1 spec.md#pulling-blobs.
 */

import { CodedError } from '@omni-airgap/oci/base';
import { type Digest, isDigest } from '@omni-airgap/oci/model';
import type { Answer, Methods, Request } from '../http/message.ts';
import type { Integrity } from '../integrity.ts';
import type { ContentSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import type { Claims } from './claims.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

export interface BlobOptions {
  readonly catalog: Catalog;
  readonly source: ContentSource;
  readonly integrity: Integrity;
  /** Of a registry that takes pushes: blobs may be here that no manifest names yet. */
  readonly claims: Claims | undefined;
}

/** Handlers for `/v2/<repository>/blobs/<digest>`. Blobs are removed by a sweep only. */
export class Blobs {
  readonly #options: BlobOptions;

  constructor(options: BlobOptions) {
    this.#options = options;
  }

  methods(repository: string, reference: string): Methods {
    return { GET: (request) => this.#get(repository, reference, request) };
  }

  /** sizeOf for a push to this repository, which then relies on the blob. */
  async claim(repository: string, digest: Digest): Promise<number | undefined> {
    const { claims } = this.#options;
    await claims?.claim(repository, [digest]);
    const size = await this.sizeOf(digest);
    if (size === undefined) claims?.release(repository, [digest]);
    return size;
  }

  /** Bytes of a blob that can be pulled; undefined when there is none. @throws MISSING_CONTENT when it is damaged */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const { catalog, source, claims } = this.#options;
    const recorded = catalog.graph.sizeOf(digest);
    if (recorded === undefined && claims === undefined) return undefined;
    const size = await source.stat(digest);
    if (size !== undefined && recorded !== undefined && size !== recorded) {
      throw new CodedError('MISSING_CONTENT', `${digest}: ${size} bytes on disk instead of ${recorded}`);
    }
    return size;
  }

  async #get(repository: string, reference: string, { method }: Request): Promise<Answer> {
    const { catalog, integrity, claims } = this.#options;
    if (isOtherDigest(reference)) return refuse('BLOB_UNKNOWN', `no blob ${reference}`);
    if (!isDigest(reference)) return refuse('DIGEST_INVALID', `not a sha256 digest: ${reference}`);
    if (claims === undefined && catalog.repository(repository) === undefined) {
      return refuse('NAME_UNKNOWN', `no repository ${repository}`);
    }
    // A client that pushes asks so, and leaves out what is here.
    const size = await (method === 'HEAD' ? this.claim(repository, reference) : this.sizeOf(reference));
    if (size === undefined && catalog.graph.sizeOf(reference) !== undefined) await integrity.requireMedium();
    const body = size === undefined ? undefined : await integrity.body({ digest: reference, size });
    if (body === undefined) return refuse('BLOB_UNKNOWN', `no blob ${reference}`);
    return {
      status: 200,
      headers: {
        ...registryHeaders,
        'Content-Type': 'application/octet-stream',
        'Docker-Content-Digest': reference,
        ETag: `"${reference}"`,
      },
      body,
    };
  }
}
