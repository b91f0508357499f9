/**
 * Blobs: pulled with ranges, straight from the files they lie in. Content is the same in every repository, so a
 * blob is found in each of them; that is also what makes a mount.
 * Source: distribution-spec v1.1.1 spec.md#pulling-blobs.
 */

import { CodedError } from '@omni-airgap/oci/base';
import { type Digest, isDigest } from '@omni-airgap/oci/model';
import type { Answer, Methods } from '../http/message.ts';
import type { Integrity } from '../integrity.ts';
import type { ContentSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

export interface BlobOptions {
  readonly catalog: Catalog;
  readonly source: ContentSource;
  readonly integrity: Integrity;
  /** True when blobs may be here that no manifest names yet. */
  readonly anyBlob: boolean;
}

/** Handlers for `/v2/<repository>/blobs/<digest>`. Blobs are removed by the store's garbage collection only. */
export class Blobs {
  readonly #options: BlobOptions;

  constructor(options: BlobOptions) {
    this.#options = options;
  }

  methods(repository: string, reference: string): Methods {
    return { GET: () => this.#get(repository, reference) };
  }

  /** Bytes of a blob that can be pulled; undefined when there is none. @throws MISSING_CONTENT when it is damaged */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const { catalog, source, anyBlob } = this.#options;
    const recorded = catalog.graph.sizeOf(digest);
    if (recorded === undefined && !anyBlob) return undefined;
    const size = await source.stat(digest);
    if (size !== undefined && recorded !== undefined && size !== recorded) {
      throw new CodedError('MISSING_CONTENT', `${digest}: ${size} bytes on disk instead of ${recorded}`);
    }
    return size;
  }

  async #get(repository: string, reference: string): Promise<Answer> {
    const { catalog, integrity, anyBlob } = this.#options;
    if (isOtherDigest(reference)) return refuse('BLOB_UNKNOWN', `no blob ${reference}`);
    if (!isDigest(reference)) return refuse('DIGEST_INVALID', `not a sha256 digest: ${reference}`);
    if (!anyBlob && catalog.repository(repository) === undefined) {
      return refuse('NAME_UNKNOWN', `no repository ${repository}`);
    }
    const size = await this.sizeOf(reference);
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
