/**
 * Content that clients read where it lies, instead of through here: objects by a presigned URL, blobs at the registry where anyone
 * may read them. Only for GET, since a presigned URL allows nothing else, and never from http to https or back: firmware speaks no
 * https, and a client that came by https must not go on without.
 */
import type { S3Bucket } from '@omni-airgap/objects';
import { isCoded } from '@omni-airgap/oci/base';
import type { HttpGate } from '@omni-airgap/oci/http';
import type { Digest } from '@omni-airgap/oci/model';
import {
  type Answer,
  type Client,
  isContent,
  isFileBody,
  type Method,
  type Methods,
  type Request,
  type RouteGroup,
} from '../http/message.ts';
import { Coalesced } from './coalesced.ts';

const preflightMs = 60_000;

export interface RedirectOptions {
  readonly gate: HttpGate;
  /** As clients and this server reach it. */
  readonly registry: URL;
  /** How clients reach the object store; left out: objects always pass through here. */
  readonly publicEndpoint: URL | undefined;
  readonly closing: AbortSignal;
}

export class Redirects {
  readonly #options: RedirectOptions;
  readonly #preflights: Coalesced<boolean>;

  constructor(options: RedirectOptions) {
    this.#options = options;
    this.#preflights = new Coalesced(options.closing, {
      keepMs: () => preflightMs,
      maxBytes: 8 * 1024 * 1024,
    });
  }

  /** @returns undefined where the client must be given the bytes */
  async ofObject(bucket: S3Bucket, key: string, client: Client): Promise<string | undefined> {
    const { publicEndpoint } = this.#options;
    if (publicEndpoint?.protocol !== `${client.scheme}:`) return undefined;
    return bucket.presign(key, publicEndpoint, client);
  }

  /** @returns undefined where the client must be given the bytes */
  async ofBlob(repository: string, digest: Digest, { scheme, signal }: Client): Promise<string | undefined> {
    const { registry } = this.#options;
    if (registry.protocol !== `${scheme}:`) return undefined;
    const url = new URL(`/v2/${repository}/blobs/${digest}`, registry);
    const isOpen = await this.#preflights.get(url.href, (closing) => this.#isOpen(url, closing), signal);
    return isOpen ? url.href : undefined;
  }

  /** Whether anyone can read it, wherever the registry sends them. */
  async #isOpen(url: URL, signal: AbortSignal): Promise<boolean> {
    try {
      const response = await this.#options.gate.request({
        ...{ method: 'GET', url, signal, anyEncoding: true },
        headers: { range: 'bytes=0-0' },
      });
      await response.cancel();
      const isGiven = response.status === 200 || response.status === 206;
      return isGiven && response.url.protocol === url.protocol;
    } catch (error) {
      if (!isCoded(error)) throw error;
      return false;
    }
  }
}

/** @param schemeOf how the client came; undefined where that cannot be told */
export function redirecting(
  group: RouteGroup,
  schemeOf: (request: Request) => Client['scheme'] | undefined,
): RouteGroup {
  return {
    ...group,
    match: (segments) => {
      const methods = group.match(segments);
      const get = methods?.GET;
      if (methods === undefined || get === undefined) return methods;
      const wrapped: { readonly [M in Method]?: Methods[M] } = {
        ...methods,
        GET: async (request) => redirected(await get(request), request, schemeOf(request)),
      };
      return wrapped;
    },
  };
}

async function redirected(
  answer: Answer,
  { method, headers, signal }: Request,
  scheme: Client['scheme'] | undefined,
): Promise<Answer> {
  const { body } = answer;
  // Validators are those of this server.
  const isConditional = headers['if-none-match'] !== undefined || headers['if-range'] !== undefined;
  if (method !== 'GET' || scheme === undefined || isConditional || !isContent(body) || isFileBody(body)) {
    return answer;
  }
  const { 'Content-Type': contentType, 'Content-Disposition': disposition, ...others } = answer.headers ?? {};
  const location = await body.elsewhere?.({ scheme, contentType, disposition, signal });
  if (location === undefined) return answer;
  const { ETag: _, ...kept } = others;
  return {
    ...answer,
    status: 307,
    headers: { ...kept, Location: location, 'Cache-Control': 'no-store' },
    body: '',
  };
}
