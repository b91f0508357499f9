/**
 * One image with all that speaks about it, from its registry into the store: content first, then companions, the
 * name last.
 */

import {
  type Copier,
  type CopyEvent,
  type Fetcher,
  graphOf,
  type Progress,
  type RangeFetcher,
  walk,
} from '@omni-airgap/oci';
import { CodedError, type JsonObject, parseStrictObject, printable, settleAll } from '@omni-airgap/oci/base';
import { looksLikePage } from '@omni-airgap/oci/http';
import type { Layout } from '@omni-airgap/oci/layout';
import {
  collectVerified,
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  maxManifestBytes,
  parseReference,
  plain,
  type Reference,
} from '@omni-airgap/oci/model';
import type { Network } from '@omni-airgap/oci/registry';
import type { LockedItem } from '@omni-airgap/store';
import { publicFactoryHost } from '@omni-airgap/talos';
import type { Builds } from '../factory/file.ts';
import type { WantedImage } from '../mirror/resolved-mirror.ts';
import { type ExpectedSigners, verifySigned } from '../signatures/signers.ts';
import { type Companions, companionName } from './companions.ts';
import { findPlatforms, selectPlatforms } from './platforms.ts';

export interface ImageContext {
  readonly network: Network;
  readonly layout: Layout;
  readonly copier: Copier;
  readonly view: TransfersView;
  readonly builds: Builds;
  readonly companions: Companions;
  readonly signers: ExpectedSigners;
  /** An image that lacks a platform fails, instead of being carried without it. */
  readonly requirePlatforms?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The lock items of the image and its companions. @throws NOT_FOUND, CONFIG, and what copying throws */
export async function fetchImage(
  context: ImageContext,
  wanted: WantedImage,
  sized: () => void,
): Promise<readonly LockedItem[]> {
  const { network, layout, copier, signal } = context;
  const reference = parseReference(wanted.reference);
  const repository = network.registry(reference.registry).repository(reference.repository);
  const ask = (): Promise<Descriptor> => resolveReference(repository, reference, signal, wanted.from);
  const isBuilt = reference.registry === publicFactoryHost;
  const root = isBuilt ? await context.builds.run(wanted.reference, ask) : await ask();
  const source = manifestsFromLayout(layout, repository, (descriptor, offset) =>
    context.view.began(descriptor, wanted.reference, offset),
  );
  const select = selectPlatforms(wanted.platforms);
  const announced = (descriptor: Descriptor): Fetcher => asAnnounced(source, descriptor, reference.registry);
  const copying = copier.copy(announced(root), layout, root, {
    from: reference.registry,
    ...(select === undefined ? {} : { select }),
  });
  // Its manifest has been found, and counts as unsized until it has been read.
  sized();
  await copying;
  const local = localFirst(layout, repository);
  const platforms = await findPlatforms(local, root, wanted, { all: context.requirePlatforms, signal });
  const isSparse = wanted.platforms !== undefined && isIndexType(root.mediaType);
  const graph = await graphOf(walk(layout, [root], { select, signal }));
  const companions = await context.companions.find(repository, graph.values());
  const fetchedAt = new Date().toISOString();
  const host = `https://${reference.registry}`;
  const signatures = companions.map(async (companion): Promise<LockedItem> => {
    const { descriptor } = companion;
    const name = companionName(reference, companion);
    await copier.copy(announced(descriptor), layout, descriptor, { from: reference.registry });
    await layout.tag(descriptor, name);
    const bytes = sum(await graphOf(walk(layout, [descriptor], { signal })));
    return { name, kind: 'signature', descriptor: plain(descriptor), bytes, source: host, fetchedAt };
  });
  const items = await settleAll(signatures);
  const verified = await verifySigned(layout, context.signers, wanted.reference, root, companions, {
    unlisted: context.companions.unlistedAt(reference.registry),
  });
  await layout.tag(root, wanted.reference);
  const item: LockedItem = {
    name: wanted.reference,
    kind: 'image',
    descriptor: plain(root),
    bytes: sum(graph),
    source: host,
    fetchedAt,
    verified,
  };
  const missing = platforms?.missing ?? [];
  const sparse = isSparse ? { platforms: [...(platforms?.carried ?? wanted.platforms ?? [])] } : {};
  const lacking = missing.length > 0 ? { missingPlatforms: [...missing] } : {};
  return [{ ...item, ...sparse, ...lacking }, ...items];
}

/**
 * Resolves a reference upstream. A digest in it takes precedence over the tag, which may have moved.
 * @param from what of mirror.yaml asks for it, where it does not stand there itself
 * @throws NOT_FOUND
 */
export async function resolveReference(
  repository: { resolve(name: string, signal?: AbortSignal): Promise<Descriptor | undefined> },
  reference: Reference,
  signal?: AbortSignal,
  from?: string,
): Promise<Descriptor> {
  const root = await repository.resolve(reference.digest ?? reference.tag ?? 'latest', signal);
  if (root !== undefined) return root;
  throw new CodedError(
    'NOT_FOUND',
    `does not exist upstream; ${from === undefined ? 'check its spelling in mirror.yaml' : `${from} of mirror.yaml asks for it`}`,
  );
}

/**
 * A source for what a registry gave a type by its answer: the root that a name stands for, or a referrer in a list. Such a
 * label is a claim of the server, so a manifest that contradicts it is a wrong answer, and no damaged content.
 * @param host of the registry
 * @throws UPSTREAM while it is read, when the manifest at `announced` says that it is something else
 */
export function asAnnounced(
  source: Fetcher & RangeFetcher,
  announced: Descriptor,
  host: string,
): Fetcher & RangeFetcher {
  return {
    fetchFrom: (descriptor, offset, signal) => source.fetchFrom(descriptor, offset, signal),
    async *fetch(descriptor, signal) {
      const { digest, mediaType } = descriptor;
      if (digest !== announced.digest || !isManifestType(mediaType)) {
        yield* source.fetch(descriptor, signal);
        return;
      }
      const what = `manifest ${digest}`;
      const bytes = await collectVerified(
        source.fetch(descriptor, signal),
        descriptor,
        maxManifestBytes,
        what,
      );
      const own = contradictedType(bytes, mediaType);
      if (own !== undefined || looksLikePage(bytes)) {
        const is = own === undefined ? 'is a web page' : `says that it is ${printable(own, 100)}`;
        throw new CodedError(
          'UPSTREAM',
          `${what}: ${host} answers with type ${mediaType}, but the document ${is}: a proxy, web filter or mirror answered wrongly; check the way to ${host}, then run the command again`,
          { descriptor },
        );
      }
      yield bytes;
    },
  };
}

/**
 * What a document says it is, where a server announced another type for it. A label on an answer is the server's word,
 * unlike the type in a descriptor that another manifest holds.
 * @param announced one of the four manifest types
 * @returns its own mediaType, or `an index` or `an image` by its members; undefined where nothing contradicts the label
 */
function contradictedType(bytes: Uint8Array, announced: string): string | undefined {
  let doc: JsonObject;
  try {
    doc = parseStrictObject(bytes, { what: 'manifest' });
  } catch {
    return undefined;
  }
  const has = (key: string): boolean => (doc[key] ?? undefined) !== undefined;
  if (has('mediaType')) return doc['mediaType'] === announced ? undefined : String(doc['mediaType']);
  const isImage = has('config') || has('layers');
  if (isImage === has('manifests') || isImage !== isIndexType(announced)) return undefined;
  return isImage ? 'an image' : 'an index';
}

/** Manifests that the store has are read there; of blobs the copy asks first. */
function manifestsFromLayout(
  layout: Layout,
  remote: Fetcher & RangeFetcher,
  began: (descriptor: Descriptor, offset: number) => void,
): Fetcher & RangeFetcher {
  const local = localFirst(layout, remote);
  return {
    fetch(descriptor, signal) {
      if (isManifestType(descriptor.mediaType)) return local.fetch(descriptor, signal);
      began(descriptor, 0);
      return remote.fetch(descriptor, signal);
    },
    fetchFrom(descriptor, offset, signal) {
      began(descriptor, offset);
      return remote.fetchFrom(descriptor, offset, signal);
    },
  };
}

/** Content that the store has is read there; only the rest is asked for upstream. */
export function localFirst(layout: Layout, remote: Fetcher & RangeFetcher): Fetcher & RangeFetcher {
  return {
    async *fetch(descriptor, signal) {
      yield* (await layout.locate(descriptor)) !== undefined
        ? layout.fetch(descriptor, signal)
        : remote.fetch(descriptor, signal);
    },
    fetchFrom: (descriptor, offset, signal) => remote.fetchFrom(descriptor, offset, signal),
  };
}

export function sum(graph: ReadonlyMap<unknown, Descriptor>): number {
  let bytes = 0;
  for (const { size } of graph.values()) bytes += size;
  return bytes;
}

/** Bytes of a blob that is worth a line of its own. */
const shownFrom = 1024 * 1024;

interface Transfer {
  readonly name: string;
  done: number;
}

export class TransfersView {
  readonly #progress: Progress;
  readonly #transfers = new Map<Digest, Transfer>();

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  /** A blob is asked for. @param offset bytes that are here */
  began({ digest, size }: Descriptor, reference: string, offset: number): void {
    if (size < shownFrom || this.#progress.item === undefined) return;
    this.#transfers.set(digest, { name: `${reference} ${digest.slice(7, 19)}`, done: offset });
  }

  onEvent(event: CopyEvent): void {
    const { digest, size } = event.descriptor;
    const transfer = this.#transfers.get(digest);
    if (transfer === undefined) return;
    if (event.kind === 'bytes') {
      transfer.done += event.bytes;
      this.#progress.item?.(transfer.name, { doing: 'fetching', done: transfer.done, size });
    } else if (event.kind === 'done') this.#ended(digest, transfer);
  }

  /** Nothing more comes for an image. */
  ended(reference: string): void {
    for (const [digest, transfer] of this.#transfers)
      if (transfer.name.startsWith(`${reference} `)) this.#ended(digest, transfer);
  }

  #ended(digest: Digest, { name }: Transfer): void {
    this.#transfers.delete(digest);
    this.#progress.item?.(name, undefined);
  }
}
