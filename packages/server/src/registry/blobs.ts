/**
 * Blobs: pulled with ranges. Of a store, content is the same in every repository, so a blob is found in each of them; that is
 * also what makes a mount.
 * Source: distribution-spec v1.1.1 spec.md#pulling-blobs.
 */

import { CodedError } from '@omni-airgap/oci/base';
import { type Digest, isDigest } from '@omni-airgap/oci/model';
import type { Answer, Methods, Request } from '../http/message.ts';
import type { ContentSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import type { Claims } from './claims.ts';
import { askedFor, type Images } from './images.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

/** Handlers for `/v2/<repository>/blobs/<digest>`. Blobs are removed by a sweep only. */
export function blobMethods(images: Images, repository: string, reference: string): Methods {
  return { GET: (request) => get(images, repository, reference, request) };
}

async function get(images: Images, repository: string, reference: string, request: Request): Promise<Answer> {
  if (isOtherDigest(reference)) return refuse('BLOB_UNKNOWN', `no blob ${reference}`);
  if (!isDigest(reference)) return refuse('DIGEST_INVALID', `not a sha256 digest: ${reference}`);
  const body = await images.blob(askedFor(repository, request), reference);
  if (body === 'no repository') return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  if (body === 'absent') return refuse('BLOB_UNKNOWN', `no blob ${reference}`);
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

/** The blobs of a catalog and of pushes under way, by size. */
export class Blobs {
  readonly #catalog: Catalog;
  readonly #source: ContentSource;
  readonly #claims: Claims | undefined;

  /** @param claims of a registry that takes pushes: blobs may be here that no manifest names yet */
  constructor(catalog: Catalog, source: ContentSource, claims: Claims | undefined) {
    this.#catalog = catalog;
    this.#source = source;
    this.#claims = claims;
  }

  get isPushedTo(): boolean {
    return this.#claims !== undefined;
  }

  /** sizeOf for a push to this repository, which then relies on the blob. */
  async claim(repository: string, digest: Digest): Promise<number | undefined> {
    await this.#claims?.claim(repository, [digest]);
    const size = await this.sizeOf(digest);
    if (size === undefined) this.#claims?.release(repository, [digest]);
    return size;
  }

  /** Bytes of a blob that can be pulled; undefined when there is none. @throws MISSING_CONTENT when it is damaged */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const recorded = this.#catalog.graph.sizeOf(digest);
    if (recorded === undefined && this.#claims === undefined) return undefined;
    const size = await this.#source.stat(digest);
    if (size !== undefined && recorded !== undefined && size !== recorded) {
      throw new CodedError('MISSING_CONTENT', `${digest}: ${size} bytes on disk instead of ${recorded}`);
    }
    return size;
  }
}
