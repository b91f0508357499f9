/** Requests about one repository: its paths, its scopes, its name in messages. */

import type { GateResponse } from '../http/response.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { isManifestType } from '../model/media-type.ts';
import type { RegistryRequest, RegistrySession } from './session.ts';

export interface RepositoryRequest extends Omit<RegistryRequest, 'url' | 'what' | 'repository' | 'scopes'> {
  /** Below `/v2/<path>/`, or a URL that the registry gave. */
  readonly at: string | URL;
  /** Such as `push sha256:…`; the repository's name is added. */
  readonly doing: string;
  /** Needed besides that to pull. */
  readonly right?: 'push' | 'delete';
  /** A sibling repository to be read as well. */
  readonly from?: string;
}

/** As scopes write them: in byte order. */
const rightsWithPull = { push: 'pull,push', delete: 'delete,pull' } as const;

export class RepositorySession {
  readonly registry: RegistrySession;
  readonly path: string;

  constructor(registry: RegistrySession, path: string) {
    this.registry = registry;
    this.path = path;
  }

  /** Host and path, for messages. */
  get name(): string {
    return `${this.registry.host}/${this.path}`;
  }

  /** One request, tried again after what may pass by itself. */
  request(request: RepositoryRequest): Promise<GateResponse> {
    return this.registry.request(this.#complete(request));
  }

  /** One request. */
  once(request: RepositoryRequest): Promise<GateResponse> {
    return this.registry.once(this.#complete(request));
  }

  url(below: string): URL {
    return new URL(`/v2/${this.path}/${below}`, this.registry.origin);
  }

  #complete(request: RepositoryRequest): RegistryRequest {
    const { at, doing, right, from, ...rest } = request;
    const scopes = [`repository:${this.path}:${right === undefined ? 'pull' : rightsWithPull[right]}`];
    if (from !== undefined) scopes.push(`repository:${from}:pull`);
    return {
      ...rest,
      url: typeof at === 'string' ? this.url(at) : at,
      what: `${doing} (${this.name})`,
      repository: this.path,
      scopes,
    };
  }
}

/** Where a descriptor's content is, below the repository. */
export function contentPath(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>): string {
  return `${isManifestType(descriptor.mediaType) ? 'manifests' : 'blobs'}/${descriptor.digest}`;
}
