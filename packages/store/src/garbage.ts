/**
 * Garbage of a store: content that lock.json no longer names. What bundles need that are issued and not written whole stays
 * until they are, or are dropped; so do the manifests of all that was issued: they say what lies where inside.
 */

import { graphOf, walk } from '@omni-airgap/oci';
import { removeTemporaries } from '@omni-airgap/oci/fs';
import { type Layout, type Removed, removeGarbage } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import type { IssuedBundles, PendingBundle } from './issued-bundles.ts';
import type { LockDocument } from './lock-document.ts';

export interface GcOptions {
  /** Only counts. */
  readonly dryRun?: boolean;
  /** Ids (8 characters at least) of issued bundles of which no more media will be written. */
  readonly dropIssued?: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

export interface GcReport extends Removed {
  /** Names that the layout no longer has. */
  readonly names: readonly string[];
  /** What only bundles need that are issued and not written whole; what two of them need counts for each. */
  readonly kept: readonly KeptForBundle[];
  /** Ids of the bundles that were dropped. */
  readonly dropped: readonly string[];
}

interface KeptForBundle {
  /** Id. */
  readonly bundle: string;
  readonly sequence: number;
  /** Numbers of the volumes that lie on no medium yet. */
  readonly volumes: readonly number[];
  readonly blobs: number;
  readonly bytes: number;
}

interface Parts {
  readonly layout: Layout;
  readonly lock: LockDocument;
  readonly bundles: IssuedBundles;
}

/** Nobody else has the store open, unless this only counts. @throws NO_INPUT, USAGE, BAD_DOCUMENT, DISK */
export async function collectGarbage(parts: Parts, options: GcOptions): Promise<GcReport> {
  const { layout, lock, bundles } = parts;
  const { dryRun = false, dropIssued = [], signal } = options;
  const dropped: string[] = [];
  for (const id of dropIssued) dropped.push(await bundles.drop(id, '--drop-issued', dryRun));
  const roots = lock.items.map((item) => item.descriptor);
  const named = await graphOf(walk(layout, roots, { missing: 'skip', signal }));
  const pending = (await bundles.pending()).filter(({ id }) => !dropped.includes(id));
  const keep = new Set([
    ...named.keys(),
    ...pending.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)),
    ...(await issuedManifests(parts, dropped, signal)),
  ]);
  const kept: KeptForBundle[] = [];
  for (const bundle of pending) kept.push(...(await keptFor(bundle, layout, named)));
  const wanted = new Set(lock.items.map((item) => item.name));
  const names: string[] = [];
  for await (const [name] of layout.names()) if (!wanted.has(name)) names.push(name);
  // Names first: one that is there must never stand for content that is not.
  if (!dryRun) await Promise.all(names.map((name) => layout.untag(name)));
  const removed = await removeGarbage(layout.root, keep, { dryRun, signal });
  if (!dryRun) {
    await removeTemporaries(layout.root);
    await bundles.removeTemporaries();
  }
  return { ...removed, names, kept, dropped };
}

/** Small, and what increments go by: see docs/bundle-format.md. */
async function issuedManifests(
  { layout, bundles }: Parts,
  dropped: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly Digest[]> {
  const found: Digest[] = [];
  for (const { id, roots } of await bundles.documents()) {
    if (dropped.includes(id)) continue;
    const descriptors = roots.map(({ descriptor }) => descriptor);
    const graph = await graphOf(walk(layout, descriptors, { missing: 'skip', blobs: false, signal }));
    found.push(...graph.keys());
  }
  return found;
}

/** Empty when lock.json names all that the bundle needs. */
async function keptFor(
  { id, sequence, volumes, blobs }: PendingBundle,
  layout: Layout,
  named: ReadonlyMap<Digest, unknown>,
): Promise<readonly KeptForBundle[]> {
  let count = 0;
  let bytes = 0;
  for (const { digest } of blobs) {
    const size = named.has(digest) ? undefined : await layout.stat(digest);
    if (size === undefined) continue;
    count++;
    bytes += size;
  }
  return count === 0 ? [] : [{ bundle: id, sequence, volumes, blobs: count, bytes }];
}
