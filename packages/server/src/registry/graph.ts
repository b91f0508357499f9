/**
 * The manifests of a source, read once: what each points at, what it is a referrer of, and the sizes that it
 * records for blobs. Missing children (a sparse index) are left out; damaged ones are reported.
 */

import { type Fetcher, type Presence, walk } from '@omni-airgap/oci';
import { messageOf, printable } from '@omni-airgap/oci/base';
import {
  Annotation,
  childrenOf,
  type Descriptor,
  type Digest,
  isManifestType,
  type Manifest,
  MediaType,
  referrerOf,
} from '@omni-airgap/oci/model';
import type { ContentSource } from '../source.ts';

export interface GraphNode {
  readonly children: readonly Descriptor[];
  readonly subject: Digest | undefined;
  /** As it stands in a list of referrers: with artifactType and annotations. */
  readonly asReferrer: Descriptor;
  /** Layers of an artifact by their titles, which are file names. */
  readonly files: ReadonlyMap<string, Descriptor>;
  /** Of an artifact that is files and nothing else: an empty config, and a title for each layer. */
  readonly fileType: string | undefined;
  /** Where there is one. */
  readonly onlyLayer: Descriptor | undefined;
}

const noFiles: ReadonlyMap<string, Descriptor> = new Map();

export class ManifestGraph {
  readonly #nodes = new Map<Digest, GraphNode>();
  readonly #sizes = new Map<Digest, number>();
  readonly #damaged = new Map<Digest, string>();

  node(digest: Digest): GraphNode | undefined {
    return this.#nodes.get(digest);
  }

  /** Bytes that a manifest records for this blob. */
  sizeOf(digest: Digest): number | undefined {
    return this.#sizes.get(digest);
  }

  /** Why a manifest that a name or an index points at cannot be used. */
  problemOf(digest: Digest): string | undefined {
    return this.#damaged.get(digest);
  }

  /**
   * Reads the manifests of these roots and below, as far as they are there.
   * @returns why a root cannot be served, by its digest
   */
  async read(
    source: ContentSource,
    roots: readonly Descriptor[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<Digest, unknown>> {
    const refused = new Map<Digest, unknown>();
    const problem = (digest: Digest, error: unknown): void => {
      if (!this.#nodes.has(digest)) this.#damaged.set(digest, messageOf(error));
    };
    const manifests: Fetcher & Presence = {
      fetch: (descriptor, stop) => source.fetch(descriptor, stop),
      has: async ({ digest }) => (await source.stat(digest)) !== undefined,
    };
    const visits = walk(manifests, roots, {
      missing: 'skip',
      unusable: 'report',
      blobs: false,
      signal,
    });
    for await (const visited of visits) {
      const { kind, descriptor, parents } = visited;
      if (kind === 'manifest') this.#add(descriptor, visited.manifest);
      else if (kind === 'missing') problem(descriptor.digest, 'is missing');
      else if (kind === 'unusable') {
        if (parents.length === 0) {
          refused.set(descriptor.digest, visited.error);
          this.#nodes.delete(descriptor.digest);
        }
        problem(descriptor.digest, visited.error);
      }
    }
    // A bundle may name what a layout would not.
    for (const { digest, mediaType } of roots) {
      if (!isManifestType(mediaType)) problem(digest, `${printable(mediaType)} is not a manifest type`);
    }
    return refused;
  }

  /** The content is not in the source any more. */
  forget(digest: Digest): void {
    this.#nodes.delete(digest);
    this.#sizes.delete(digest);
  }

  #add(descriptor: Descriptor, manifest: Manifest): void {
    const { digest } = descriptor;
    const children: Descriptor[] = [];
    for (const child of childrenOf(manifest)) {
      if (manifest.kind === 'index' && isManifestType(child.mediaType)) children.push(child);
      else if (!this.#sizes.has(child.digest)) this.#sizes.set(child.digest, child.size);
    }
    this.#nodes.set(digest, {
      children,
      subject: manifest.subject?.digest,
      asReferrer: referrerOf(descriptor, manifest),
      ...filesIn(manifest),
      onlyLayer: manifest.kind === 'image' && manifest.layers.length === 1 ? manifest.layers[0] : undefined,
    });
    this.#damaged.delete(digest);
  }
}

/** The files that a manifest holds, and what they are when it holds nothing else. */
export function filesIn(manifest: Manifest): Pick<GraphNode, 'files' | 'fileType'> {
  const files = filesOf(manifest);
  return { files, fileType: isOnlyFiles(manifest, files) ? manifest.artifactType : undefined };
}

function isOnlyFiles(manifest: Manifest, files: ReadonlyMap<string, Descriptor>): boolean {
  return (
    manifest.kind === 'image' &&
    manifest.config.mediaType === MediaType.empty &&
    manifest.layers.length === files.size
  );
}

function filesOf(manifest: Manifest): ReadonlyMap<string, Descriptor> {
  if (manifest.kind !== 'image') return noFiles;
  const titled = manifest.layers.flatMap((layer) => {
    const title = layer.annotations?.[Annotation.title];
    return title === undefined ? [] : [[title, layer] as const];
  });
  return titled.length === 0 ? noFiles : new Map(titled);
}
