/**
 * Where the server's content comes from: a store on disk, an opened bundle, or one laid over the other. The
 * server asks nothing else of them.
 */
import type {
  Bytes,
  Descriptor,
  Digest,
  Fetcher,
  Located,
  NameLister,
  Piece,
  PushResult,
  Storage,
  Tagger,
} from '@omni-airgap/content';

export interface ContentSource extends Fetcher, Located, NameLister {
  /** Bytes of the blob with this digest; undefined when it is not there. */
  stat(digest: Digest): Promise<number | undefined>;
}

/** A source that takes pushes: a Layout. */
export interface WritableSource extends ContentSource, Storage, Tagger {
  /** Stores bytes whose digest is only known at their end. */
  ingest(
    open: () => Bytes,
    options: { readonly mediaType: string; readonly key: string; readonly maxSize: number },
  ): Promise<Descriptor>;
  /** Removes a name; the content stays. */
  untag(name: string): Promise<void>;
  push(descriptor: Descriptor, open: () => Bytes): Promise<PushResult>;
}

/** What is pushed here, over what was carried here. Content has one meaning, so the first that has it serves it. */
export class Overlay implements ContentSource {
  readonly #sources: readonly [ContentSource, ContentSource];

  constructor(upper: ContentSource, lower: ContentSource) {
    this.#sources = [upper, lower];
  }

  async stat(digest: Digest): Promise<number | undefined> {
    const [upper, lower] = this.#sources;
    return (await upper.stat(digest)) ?? (await lower.stat(digest));
  }

  async locate(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<readonly Piece[] | undefined> {
    const [upper, lower] = this.#sources;
    return (await upper.locate(descriptor)) ?? (await lower.locate(descriptor));
  }

  async *fetch(descriptor: Descriptor, signal?: AbortSignal): Bytes {
    const [upper, lower] = this.#sources;
    const source = (await upper.stat(descriptor.digest)) === undefined ? lower : upper;
    yield* source.fetch(descriptor, signal);
  }

  async *names(signal?: AbortSignal): AsyncIterable<readonly [string, Descriptor]> {
    for (const source of this.#sources) yield* source.names(signal);
  }
}
