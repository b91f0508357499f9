/** gc: removes from a store what its lock.json no longer names. What was bundled stays described in `bundles/`. */
import {
  CodedError,
  childrenOf,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
  Layout,
  type Removed,
  removeGarbage,
} from '@omni-airgap/content';
import { readLock } from './lock-file.ts';

export interface GcOptions {
  readonly store: string;
  /** Only counts. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface GcReport extends Removed {
  /** Names that the layout no longer has. */
  readonly names: readonly string[];
}

/**
 * @throws NO_INPUT without a store or lock; INCOMPLETE while the lock is not what mirror.yaml says, since what is
 * missing may need what is here; CONFLICT while a fetch runs
 */
export async function gc(options: GcOptions): Promise<GcReport> {
  const { store, dryRun = false, signal } = options;
  const layout = await Layout.open(store);
  const lock = await readLock(store);
  if (lock === undefined) {
    throw new CodedError('NO_INPUT', `${store}: has no lock.json; run omni-airgap fetch first`);
  }
  if (lock.missing.length > 0) {
    throw new CodedError(
      'INCOMPLETE',
      `${store}: the last fetch could not bring ${lock.missing.length} item(s), ${lock.missing[0]} among them; run it again first`,
    );
  }
  const keep = new Set<Digest>();
  for (const { descriptor } of lock.items) await mark(layout, descriptor, keep, signal);
  const wanted = new Set(lock.items.map((item) => item.name));
  const names: string[] = [];
  for await (const [name] of layout.names()) {
    // What goes by its digest has no name of its own in the lock's sense.
    if (!wanted.has(name)) names.push(name);
  }
  const removed = await removeGarbage(store, keep, {
    dryRun: true,
    ...(signal === undefined ? {} : { signal }),
  });
  if (dryRun) return { ...removed, names };
  // Names first: one that is there must never stand for content that is not.
  await Promise.all(names.map((name) => layout.untag(name)));
  return {
    ...(await removeGarbage(store, keep, { dryRun: false, ...(signal === undefined ? {} : { signal }) })),
    names,
  };
}

/** Everything below a root that is there; what is not (other platforms, consumed blobs) needs no keeping. */
async function mark(
  layout: Layout,
  root: Descriptor,
  keep: Set<Digest>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const waiting = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (keep.has(next.digest)) continue;
    keep.add(next.digest);
    if (!isManifestType(next.mediaType) || !(await layout.has(next))) continue;
    const { manifest } = await fetchManifest(layout, next, signal);
    waiting.push(...childrenOf(manifest));
  }
}
