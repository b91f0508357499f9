/**
 * gc: removes from a store what its lock.json no longer names. What bundles need that are issued and not written whole
 * stays until they are, or are let go; so do the manifests of all that was issued: they say what lies where inside.
 */

import { type Digest, graphOf, walk } from '@omni-airgap/oci';
import { Layout, type Removed, removeGarbage } from '@omni-airgap/oci/layout';
import { issuedIds, readIssuedDocument } from './issued-documents.ts';
import { dropPending, type Pending, pendingBundles } from './pending.ts';
import { readWholeLock } from './read-lock.ts';
import { beginWork } from './work-mark.ts';

export interface GcOptions {
  readonly store: string;
  /** Only counts. */
  readonly dryRun?: boolean;
  /** Ids (8 characters at least) of issued bundles of which no more media will be written. */
  readonly dropIssued?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface GcReport extends Removed {
  /** Names that the layout no longer has. */
  readonly names: readonly string[];
  /** What only bundles need that are issued and not written whole; what two of them need counts for each. */
  readonly kept: readonly Kept[];
  /** Ids of the bundles that were let go. */
  readonly dropped: readonly string[];
}

interface Kept {
  /** Id. */
  readonly bundle: string;
  readonly sequence: number;
  /** Numbers of the volumes that lie on no medium yet. */
  readonly volumes: readonly number[];
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * @throws NO_INPUT without a store or lock; INCOMPLETE while the lock is not what mirror.yaml says, since what is
 * missing may need what is here; CONFLICT while a fetch or another gc runs; NO_INPUT, USAGE for bundles to be dropped that are not
 * issued or are written whole; BAD_DOCUMENT, DISK
 */
export async function gc(options: GcOptions): Promise<GcReport> {
  const layout = await Layout.open(options.store);
  if (options.dryRun === true) return remove(layout, options);
  const end = await beginWork(layout.root, 'gc');
  try {
    return await remove(layout, options);
  } finally {
    await end();
  }
}

async function remove(layout: Layout, options: GcOptions): Promise<GcReport> {
  const { store, dryRun = false, dropIssued = [], signal } = options;
  const lock = await readWholeLock(store);
  const dropped: string[] = [];
  for (const id of dropIssued) dropped.push(await dropPending(store, id, '--drop-issued', dryRun));
  const stoppable = signal === undefined ? {} : { signal };
  const roots = lock.items.map((item) => item.descriptor);
  const named = await graphOf(walk(layout, roots, { missing: 'skip', signal }));
  const pending = (await pendingBundles(store)).filter(({ id }) => !dropped.includes(id));
  const keep = new Set([
    ...named.keys(),
    ...pending.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)),
    ...(await issuedManifests(layout, dropped, signal)),
  ]);
  const kept: Kept[] = [];
  for (const bundle of pending) kept.push(...(await keptFor(bundle, layout, named)));
  const wanted = new Set(lock.items.map((item) => item.name));
  const names: string[] = [];
  for await (const [name] of layout.names()) if (!wanted.has(name)) names.push(name);
  // Names first: one that is there must never stand for content that is not.
  if (!dryRun) await Promise.all(names.map((name) => layout.untag(name)));
  const removed = await removeGarbage(store, keep, { dryRun, ...stoppable });
  return { ...removed, names, kept, dropped };
}

/** Small, and what increments go by: see docs/bundle-format.md. */
async function issuedManifests(
  layout: Layout,
  dropped: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly Digest[]> {
  const found: Digest[] = [];
  for (const id of await issuedIds(layout.root)) {
    const issued = dropped.includes(id) ? undefined : await readIssuedDocument(layout.root, id);
    if (issued === undefined) continue;
    const roots = issued.document.roots.map(({ descriptor }) => descriptor);
    const graph = await graphOf(walk(layout, roots, { missing: 'skip', blobs: false, signal }));
    for (const digest of graph.keys()) found.push(digest);
  }
  return found;
}

/** Empty when lock.json names all that the bundle needs. */
async function keptFor(
  { id, sequence, volumes, blobs }: Pending,
  layout: Layout,
  named: ReadonlyMap<Digest, unknown>,
): Promise<readonly Kept[]> {
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
