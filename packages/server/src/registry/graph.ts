/**
 * The manifests of a source, read once: what each points at, what it is a referrer of, and the sizes that it
 * records for blobs. Missing children (a sparse index) are left out; damaged ones are reported.
 */
import {
  Annotation,
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
  type Manifest,
  referrerOf,
} from '@omni-airgap/oci';
import { messageOf } from '@omni-airgap/oci/base';
import type { ContentSource } from '../source.ts';

export interface GraphNode {
  readonly children: readonly Descriptor[];
  readonly subject: Digest | undefined;
  /** As it stands in a list of referrers: with artifactType and annotations. */
  readonly asReferrer: Descriptor;
  /** Layers of an artifact by their titles, which are file names. */
  readonly files: ReadonlyMap<string, Descriptor>;
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

  /** Reads the manifest and everything below it that is there and not yet known. */
  async read(source: ContentSource, root: Descriptor, signal?: AbortSignal): Promise<void> {
    const queue = [root];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (this.#nodes.has(next.digest)) continue;
      if ((await source.stat(next.digest)) === undefined) {
        this.#damaged.set(next.digest, 'is not there');
        continue;
      }
      try {
        const { manifest } = await fetchManifest(source, next, signal, { withoutForeignLayers: true });
        queue.push(...this.add(next, manifest));
      } catch (error) {
        signal?.throwIfAborted();
        this.#damaged.set(next.digest, messageOf(error));
      }
    }
  }

  /** Takes in a manifest that has been parsed already; gives the manifests below it. */
  add(descriptor: Descriptor, manifest: Manifest): readonly Descriptor[] {
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
      files: filesOf(manifest),
    });
    this.#damaged.delete(digest);
    return children;
  }
}

function filesOf(manifest: Manifest): ReadonlyMap<string, Descriptor> {
  if (manifest.kind !== 'image') return noFiles;
  const titled = manifest.layers.flatMap((layer) => {
    const title = layer.annotations?.[Annotation.title];
    return title === undefined ? [] : [[title, layer] as const];
  });
  return titled.length === 0 ? noFiles : new Map(titled);
}
