/**
 * Boot assets and lists as objects, under the paths of the Image Factory. The digest that an object claims in its metadata is
 * checked while it is sent. An object that claims none was put there by nobody we know: machines do not boot from it.
 */
import type { BucketObject, S3Bucket } from '@omni-airgap/objects';
import { collectVerified, MediaType } from '@omni-airgap/oci/model';
import {
  artifactPath,
  isMediaName,
  isSchematicId,
  isTalosctlName,
  isVersion,
  TalosError,
} from '@omni-airgap/talos';
import type { HeldFile, HeldMedia, ListedFile, ListedFiles } from '../factory/holdings.ts';
import type { Body } from '../http/message.ts';
import type { Assets, FileSet } from './assets.ts';
import { Coalesced, whenFound } from './coalesced.ts';
import type { TargetsCondition } from './condition.ts';
import type { Redirects } from './redirects.ts';

/** So long may an answer be older than the bucket; while it is sent, an object that was replaced is noticed by its ETag. */
const objectMs = 10_000;
const listMs = 30_000;
/** Of one listing. */
const maxKeys = 100_000;

export class BucketAssets implements Assets {
  readonly #bucket: S3Bucket;
  readonly #condition: TargetsCondition;
  readonly #redirects: Redirects | undefined;
  readonly #objects: Coalesced<BucketObject | undefined>;
  readonly #lists: Coalesced<ListedFiles>;
  readonly #media: Coalesced<readonly HeldMedia[]>;

  constructor(
    bucket: S3Bucket,
    condition: TargetsCondition,
    redirects: Redirects | undefined,
    closing: AbortSignal,
  ) {
    this.#redirects = redirects;
    this.#bucket = bucket;
    this.#condition = condition;
    this.#objects = new Coalesced<BucketObject | undefined>(closing, {
      keepMs: whenFound(objectMs),
      maxBytes: 4 * 1024 * 1024,
      weigh: () => 400,
    });
    this.#lists = new Coalesced(closing, {
      keepMs: () => listMs,
      maxBytes: 4 * 1024 * 1024,
      weigh: (files) => 100 * files.size,
    });
    this.#media = new Coalesced(closing, { keepMs: () => listMs, maxBytes: Number.MAX_SAFE_INTEGER });
  }

  async file(set: FileSet, name: string, signal?: AbortSignal): Promise<HeldFile | undefined> {
    const key = keyOf(set, name);
    if (key === undefined) return undefined;
    const object = await this.#objects.get(key, (closing) => this.#bucket.look(key, closing), signal);
    const digest = object?.digest;
    if (object === undefined || digest === undefined) return undefined;
    const descriptor = { mediaType: MediaType.octetStream, digest, size: object.size };
    const body: Body = {
      ...{ digest, size: object.size },
      open: (start, end, stop) => this.#open(object, start, end, stop),
      checked: (isRight) => this.#condition.checked(digest, isRight),
      elsewhere: (client) =>
        this.#redirects?.ofObject(this.#bucket, key, client) ?? Promise.resolve(undefined),
    };
    return {
      digest,
      body: async () => body,
      read: (max, stop) => collectVerified(this.#open(object, 0, object.size, stop), descriptor, max, key),
    };
  }

  async files(set: FileSet, signal?: AbortSignal): Promise<ListedFiles> {
    const folder = set.kind === 'media' ? `image/${set.schematic}/${set.version}/` : folderOf(set);
    const isName = set.kind === 'media' ? isMediaName : isTalosctlName;
    if (folder === undefined) return new Map();
    return this.#lists.get(
      folder,
      async (closing) => {
        const files = new Map<string, ListedFile>();
        for await (const { key, size } of this.#bucket.list(folder, closing)) {
          const name = key.slice(folder.length);
          if (isName(name) && files.size < maxKeys) files.set(name, { size });
        }
        return files;
      },
      signal,
    );
  }

  media(signal?: AbortSignal): Promise<readonly HeldMedia[]> {
    return this.#media.get('', (closing) => this.#listMedia(closing), signal);
  }

  async #listMedia(signal: AbortSignal): Promise<readonly HeldMedia[]> {
    const held = new Map<string, HeldMedia & { readonly files: Map<string, ListedFile> }>();
    let count = 0;
    for await (const { key, size } of this.#bucket.list('image/', signal)) {
      const [, schematic = '', version = '', name = '', ...more] = key.split('/');
      if (more.length > 0 || !isSchematicId(schematic) || !isVersion(version) || !isMediaName(name)) continue;
      if (++count > maxKeys) break;
      const at = `${schematic}/${version}`;
      const media = held.get(at) ?? { schematic, version, files: new Map() };
      held.set(at, media);
      media.files.set(name, { size });
    }
    return [...held.values()];
  }

  /** What was replaced since is looked at anew by the next request. */
  async *#open(object: BucketObject, start: number, end: number, signal?: AbortSignal) {
    try {
      yield* this.#bucket.open(object, start, end, signal);
    } catch (error) {
      this.#objects.forget(object.key);
      throw error;
    }
  }
}

/** Undefined for a list whose files have no folder of their own. */
function folderOf(set: FileSet): string | undefined {
  return set.kind === 'list' && set.list === 'talosctl' ? `talosctl/${set.version ?? ''}/` : undefined;
}

/** Undefined for a file that stands for no path. */
function keyOf(set: FileSet, name: string): string | undefined {
  try {
    return artifactPath(set, name);
  } catch (error) {
    if (error instanceof TalosError) return undefined;
    throw error;
  }
}
