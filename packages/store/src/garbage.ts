/**
 * Garbage of a store: content that lock.json no longer names. What bundles need that are issued and not written whole stays
 * until they are, or are dropped; so do the manifests of all that was issued: they say what lies where inside.
 *
 * What was pushed (serve --writable) is named by the push, not by lock.json: it stays until it is deleted, and so does, for
 * the grace period, content whose manifest has not come yet.
 */

import { graphOf, walk } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { removeTemporaries } from '@omni-airgap/oci/fs';
import { defaultGraceMs, type Layout, parsePushedName, type Swept, sweep } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import type { IssuedBundles, PendingBundle } from './issued-bundles.ts';
import type { LockDocument } from './lock-document.ts';

export interface GcOptions {
  /** Only counts. */
  readonly dryRun?: boolean;
  /** Ids (8 characters at least) of issued bundles of which no more media will be written. */
  readonly dropIssued?: readonly string[];
  /** Milliseconds for which content stays that no push names; default a day. */
  readonly graceMs?: number | undefined;
  /** Milliseconds after which manifests that were pushed go when they have no tag any more; default never. */
  readonly deleteUntaggedAfterMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GcReport extends Swept {
  /** Names that lock.json does not have and the layout had. */
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
  /** Undefined for a folder that nothing was ever fetched into: all of its names are kept. */
  readonly lock: LockDocument | undefined;
  readonly bundles: IssuedBundles;
}

/**
 * Nobody else has the store open, unless this only counts.
 * @throws NO_INPUT, BAD_DOCUMENT, DISK; USAGE for a bundle that cannot be dropped, and for how long pushes are kept where
 * none were made; as sweep
 */
export async function collectGarbage(parts: Parts, options: GcOptions): Promise<GcReport> {
  const { layout, lock, bundles } = parts;
  const { dryRun = false, dropIssued = [], graceMs, deleteUntaggedAfterMs, signal } = options;
  const wanted = lock && new Set(lock.items.map(({ name }) => name));
  const roots = new Map<string, Descriptor>();
  const names: string[] = [];
  for await (const [name, descriptor] of layout.names()) {
    if (wanted === undefined || parsePushedName(name) !== undefined) roots.set(name, descriptor);
    else if (!wanted.has(name)) names.push(name);
  }
  const takesPushes = lock === undefined || roots.size > 0;
  if (!takesPushes && (graceMs !== undefined || deleteUntaggedAfterMs !== undefined)) {
    throw new CodedError(
      'USAGE',
      `${layout.root}: a store without pushes: --grace-period and --delete-untagged-after are for a folder of serve --writable`,
    );
  }
  const dropped: string[] = [];
  for (const id of dropIssued) dropped.push(await bundles.drop(id, '--drop-issued', dryRun));
  const items = lock?.items.map((item) => item.descriptor) ?? [];
  const named = await graphOf(walk(layout, items, { missing: 'skip', signal }));
  const pending = (await bundles.pending()).filter(({ id }) => !dropped.includes(id));
  const keep = new Set([
    ...named.keys(),
    ...pending.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)),
    ...(await issuedManifests(parts, dropped, signal)),
  ]);
  const kept: KeptForBundle[] = [];
  for (const bundle of pending) kept.push(...(await keptFor(bundle, layout, named)));
  const swept = await sweep(layout, {
    roots,
    drop: names,
    keep,
    graceMs: takesPushes ? (graceMs ?? defaultGraceMs) : undefined,
    deleteUntaggedAfterMs,
    dryRun,
    signal,
  });
  if (!dryRun) {
    await removeTemporaries(layout.root);
    await bundles.removeTemporaries();
  }
  return { ...swept, names, kept, dropped };
}

/** Small, and what increments go by: see docs/bundle-format.md. */
async function issuedManifests(
  { layout, bundles }: Parts,
  dropped: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly Digest[]> {
  const found: Digest[] = [];
  for await (const { id, roots } of bundles.documents()) {
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
