/**
 * Where the server's content comes from: a store on disk, an opened bundle, or one laid over the other. The
 * server asks nothing else of them.
 */
import type {
  Bytes,
  Fetcher,
  Located,
  NameLister,
  Piece,
  PushResult,
  Storage,
  Tagger,
} from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { SweptLayout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';

export interface ContentSource extends Fetcher, Located, NameLister {
  /** Bytes of the blob with this digest; undefined when it is not there. */
  stat(digest: Digest): Promise<number | undefined>;
}

/** A source that takes pushes, and from which a sweep removes what nothing names any more: a Layout. */
export interface WritableSource extends ContentSource, Storage, Tagger, SweptLayout {
  /** Stores bytes whose digest is only known at their end. When `accept` throws, nothing of them stays. */
  ingest(
    open: () => Bytes,
    options: {
      readonly mediaType: string;
      readonly key: string;
      readonly maxSize: number;
      readonly accept: (found: Descriptor) => void;
    },
  ): Promise<Descriptor>;
  /** The content's age begins anew, unless it is younger than this; never throws. */
  renew(digest: Digest, minAgeMs?: number): Promise<void>;
  push(descriptor: Descriptor, open: () => Bytes): Promise<PushResult>;
}

/**
 * Sources laid over each other. Content has one meaning, so the first that has it serves it; of a name, the first
 * that has it says what it stands for.
 */
export class Overlay implements ContentSource {
  readonly #sources: readonly ContentSource[];

  constructor(sources: readonly ContentSource[]) {
    this.#sources = sources;
  }

  async stat(digest: Digest): Promise<number | undefined> {
    return this.#first((source) => source.stat(digest));
  }

  async locate(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<readonly Piece[] | undefined> {
    return this.#first((source) => source.locate(descriptor));
  }

  async *fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    const having = await this.#first(async (source) =>
      (await source.stat(descriptor.digest)) === undefined ? undefined : source,
    );
    if (having === undefined) {
      throw new CodedError('MISSING_CONTENT', `${descriptor.digest}: not here`, { descriptor });
    }
    yield* having.fetch(descriptor, signal);
  }

  async *names(signal?: AbortSignal): AsyncIterable<readonly [string, Descriptor]> {
    const seen = new Set<string>();
    for (const source of this.#sources) {
      for await (const [name, descriptor] of source.names(signal)) {
        if (!seen.has(name)) yield [name, descriptor];
        seen.add(name);
      }
    }
  }

  async #first<T>(ask: (source: ContentSource) => Promise<T | undefined>): Promise<T | undefined> {
    for (const source of this.#sources) {
      const found = await ask(source);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
