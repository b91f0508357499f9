/** What a registry double holds: blobs, manifests and tags by repository, upload sessions; its lists, in pages. */
import { type Descriptor, descriptorOf } from '../../model/descriptor.ts';
import { digestOf } from '../../model/digest.ts';
import { MediaType } from '../../model/media-type.ts';
import type { Answer } from './faults.ts';

export interface RepositorySeed {
  readonly blobs?: readonly Uint8Array[];
  readonly manifests?: readonly {
    readonly bytes: Uint8Array;
    readonly mediaType: string;
    readonly tags?: readonly string[];
  }[];
}

interface StoredManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

/** The parts of a manifest the double looks at; its tests feed it well-formed ones. */
interface LooseManifest {
  readonly config?: { readonly digest: string; readonly mediaType: string };
  readonly layers?: readonly { readonly digest: string; readonly urls?: readonly string[] }[];
  readonly manifests?: readonly { readonly digest: string }[];
  readonly subject?: { readonly digest: string };
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What one repository of a registry double holds; tests look into it and put content there. */
export class RepositoryDouble {
  readonly blobs: Map<string, Uint8Array> = new Map();
  /** By digest. */
  readonly manifests: Map<string, StoredManifest> = new Map();
  /** Tag to digest. */
  readonly tags: Map<string, string> = new Map();

  addBlob(bytes: Uint8Array, mediaType: string = MediaType.octetStream): Descriptor {
    const descriptor = descriptorOf(mediaType, bytes);
    this.blobs.set(descriptor.digest, bytes);
    return descriptor;
  }

  /** Stored as it is, children or not. */
  addManifest(bytes: Uint8Array, mediaType: string, ...tags: string[]): Descriptor {
    const descriptor = descriptorOf(mediaType, bytes);
    this.manifests.set(descriptor.digest, { bytes, mediaType });
    for (const tag of tags) this.tags.set(tag, descriptor.digest);
    return descriptor;
  }

  manifest(name: string): StoredManifest | undefined {
    return this.manifests.get(this.tags.get(name) ?? name);
  }

  /** With all its tags. */
  removeManifest(digest: string): boolean {
    for (const [tag, target] of this.tags) if (target === digest) this.tags.delete(tag);
    return this.manifests.delete(digest);
  }

  missingChildren(bytes: Uint8Array): readonly string[] {
    const { config, layers = [], manifests = [] } = parse(bytes);
    const own = layers.filter(({ urls }) => urls === undefined);
    const blobs = config === undefined ? own : [config, ...own];
    return [
      ...blobs.filter(({ digest }) => !this.blobs.has(digest)),
      ...manifests.filter(({ digest }) => !this.manifests.has(digest)),
    ].map(({ digest }) => digest);
  }

  subjectOf(bytes: Uint8Array): string | undefined {
    return parse(bytes).subject?.digest;
  }

  referrersOf(subject: string): readonly Descriptor[] {
    return [...this.manifests.values()]
      .map(({ bytes, mediaType }) => ({ bytes, mediaType, manifest: parse(bytes) }))
      .filter(({ manifest }) => manifest.subject?.digest === subject)
      .map(({ bytes, mediaType, manifest: { artifactType, config, annotations } }) => ({
        mediaType,
        digest: digestOf(bytes),
        size: bytes.byteLength,
        ...((artifactType ?? config) === undefined
          ? {}
          : { artifactType: artifactType ?? config?.mediaType ?? '' }),
        ...(annotations === undefined ? {} : { annotations }),
      }));
  }
}

function parse(bytes: Uint8Array): LooseManifest {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as LooseManifest;
  } catch {
    return {};
  }
}

class UploadDouble {
  readonly path: string;
  readonly chunks: Uint8Array[] = [];

  constructor(path: string) {
    this.path = path;
  }

  size(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  }
}

export class ContentDouble {
  readonly uploads: Map<string, UploadDouble> = new Map();
  readonly #repositories = new Map<string, RepositoryDouble>();
  #started = 0;

  constructor(seeds: Readonly<Record<string, RepositorySeed>>) {
    for (const [path, { blobs = [], manifests = [] }] of Object.entries(seeds)) {
      const repository = this.repository(path);
      for (const blob of blobs) repository.addBlob(blob);
      for (const { bytes, mediaType, tags = [] } of manifests)
        repository.addManifest(bytes, mediaType, ...tags);
    }
  }

  /** Of all repositories. */
  get paths(): readonly string[] {
    return [...this.#repositories.keys()];
  }

  find(path: string): RepositoryDouble | undefined {
    return this.#repositories.get(path);
  }

  repository(path: string): RepositoryDouble {
    const found = this.#repositories.get(path) ?? new RepositoryDouble();
    this.#repositories.set(path, found);
    return found;
  }

  startUpload(path: string): string {
    const id = `upload-${++this.#started}`;
    this.uploads.set(id, new UploadDouble(path));
    return id;
  }
}

interface Listing {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Entries in a page; undefined for all. */
  readonly pageSize: number | undefined;
}

export function listTags(repository: RepositoryDouble, listing: Listing): Answer {
  const { path } = listing;
  return listNames(repository.tags.keys(), `${path}/tags/list`, listing, (tags) => ({ name: path, tags }));
}

export function listRepositories(content: ContentDouble, listing: Listing): Answer {
  return listNames(content.paths, '_catalog', listing, (repositories) => ({ repositories }));
}

/** @param at path of the list, below /v2/ @param body what holds a page of the names */
function listNames(
  names: Iterable<string>,
  at: string,
  { query, pageSize }: Listing,
  body: (names: readonly string[]) => object,
): Answer {
  const last = query.get('last') ?? '';
  const all = [...names].sort().filter((name) => name > last);
  const page = all.slice(0, pageSize ?? all.length);
  const next = `</v2/${at}?last=${encodeURIComponent(page.at(-1) ?? '')}>; rel="next"`;
  return {
    status: 200,
    headers: { 'content-type': 'application/json', ...(page.length < all.length ? { link: next } : {}) },
    body: JSON.stringify(body(page)),
  };
}

export function listReferrers(
  repository: RepositoryDouble | undefined,
  digest: string,
  { path, query, pageSize }: Listing,
): Answer {
  const start = Number(query.get('start') ?? 0);
  const type = query.get('artifactType');
  const all = (repository?.referrersOf(digest) ?? [])
    .filter(({ artifactType }) => type === null || artifactType === type)
    .slice(start);
  const page = all.slice(0, pageSize ?? all.length);
  const next = `</v2/${path}/referrers/${digest}?start=${start + page.length}>; rel="next"`;
  return {
    status: 200,
    headers: {
      'content-type': MediaType.ociIndex,
      ...(type === null ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...(page.length < all.length ? { link: next } : {}),
    },
    body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: page }),
  };
}
