/**
 * Removing from a layout what nothing needs any more. One sweep serves the command, while nobody else uses the layout,
 * and a running registry, whose pushes go on meanwhile: names go first, then content that no name leads to, so a kill at
 * any moment leaves names that stand for whole content.
 *
 * Age is the time since a file was written or last relied on: `Layout.renew` sets it. What is younger than the grace
 * period may belong to a push whose manifest has not come yet.
 */
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, isCoded, messageOf, systemCodeOf } from '../base/errors.ts';
import { diskError } from '../fs/disk-error.ts';
import type { Descriptor } from '../model/descriptor.ts';
import { type Digest, digestFromHex, hexOf, isHex64 } from '../model/digest.ts';
import { childrenOf, fetchManifest } from '../model/manifest.ts';
import { isManifestType } from '../model/media-type.ts';
import type { Fetcher, NameLister, Presence } from '../storage.ts';
import { walk } from '../walk.ts';
import type { Names } from './index-file.ts';
import { parsePushedName } from './pushed-names.ts';

const anyPart = /^[a-f0-9]{64}(?:\..+)?\.(?:part|json)$/;
/**
 * Locks of runs, and files that were being written: of killed processes, since no other works here. And marks of commands
 * at work, as version 0.1 left them.
 */
const anyLeftover = /^(?:[a-f0-9]{16}\.run|\..+\.tmp|[0-9]+-[a-f0-9]{8}\.[a-f0-9]{8}\.(?:fetch|gc))$/;

/** Milliseconds: longer than the slowest push takes. */
export const defaultGraceMs: number = 24 * 3_600_000;

/** The layout to sweep: a Layout. */
export interface SweptLayout extends Fetcher, Presence, NameLister {
  readonly root: string;
  /** Removes a name; the content stays. Others see the change at once, and it is on disk when this resolves. */
  untag(name: string): Promise<void>;
  /** Removes what killed processes were ingesting and nobody can continue. Never throws. */
  removeAbandoned(): Promise<void>;
}

/** What goes on in a layout while it is swept. */
export interface Activity {
  /** True for content that a push under way relies on: it stays, whatever its age. */
  isInUse(digest: Digest): boolean;
  /** Runs a removal; whoever begins to rely on the content waits for its end. */
  removing(digest: Digest, remove: () => Promise<void>): Promise<void>;
  /** Called in the moment in which these names go. */
  untagged(names: readonly string[]): void;
}

export interface SweepOptions {
  /** Names that are kept, but for untagged ones; what they lead to stays. */
  readonly roots: Names;
  /** Names that go. */
  readonly drop?: readonly string[];
  /** Other content that stays. */
  readonly keep?: ReadonlySet<Digest>;
  /** Milliseconds; content that no name leads to is removed once it is as old. Default: at once. */
  readonly graceMs?: number | undefined;
  /**
   * Milliseconds; manifests that were pushed and have no tag any more go once they are as old, and older than the grace
   * period. Children and referrers of what is kept stay. Default: untagged manifests stay.
   */
  readonly deleteUntaggedAfterMs?: number | undefined;
  /** Default: nobody else uses the layout, and whatever is being ingested is left over from killed processes. */
  readonly activity?: Activity | undefined;
  /** Only counts. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What a sweep removed. */
export interface Removed {
  readonly blobs: number;
  /** Bytes of all that was removed. */
  readonly bytes: number;
  /** Partial downloads and their journals. */
  readonly partial: number;
}

/** What a sweep came to. */
export interface Swept extends Removed {
  /** Names of untagged manifests that were removed, in byte order. */
  readonly untagged: readonly string[];
  /** Content that no name leads to, and that is younger than the grace period or in use. */
  readonly waiting: { readonly blobs: number; readonly bytes: number };
}

/**
 * Removes names, then content that neither a name nor `keep` leads to.
 * @throws MISSING_CONTENT, DIGEST_MISMATCH, BAD_DOCUMENT for a manifest with a name that cannot be read: what it needs is
 * not known, so no content is removed; DISK
 */
export async function sweep(layout: SweptLayout, options: SweepOptions): Promise<Swept> {
  const { roots, drop = [], keep, activity, dryRun = false, signal } = options;
  const { graceMs = Number.NEGATIVE_INFINITY, deleteUntaggedAfterMs: untaggedMs } = options;
  const now = currentTime();
  const untagged =
    untaggedMs === undefined ? [] : await untaggedNames(layout, options, now - Math.max(graceMs, untaggedMs));
  // A push may have come back to one; from here on nothing but the removal happens in between.
  const going = untagged.filter(({ digest }) => activity?.isInUse(digest) !== true).map(({ name }) => name);
  if (!dryRun) {
    activity?.untagged(going);
    await Promise.all([...drop, ...going].map((name) => layout.untag(name)));
  }
  const gone = new Set(going);
  const left = [...roots].filter(([name]) => !gone.has(name));
  const kept = new Set(keep);
  await addContentOf(layout, left, kept, signal);
  const { waiting, ...content } = await removeContent(layout.root, kept, now - graceMs, options);
  if (activity === undefined) {
    const { partial, bytes } = await removeParts(layout.root, dryRun);
    return { blobs: content.blobs, bytes: content.bytes + bytes, partial, untagged: going, waiting };
  }
  if (!dryRun) await layout.removeAbandoned();
  return { ...content, partial: 0, untagged: going, waiting };
}

/**
 * Milliseconds since 1970. A clock that was set forward since the start of this process would make what came in just
 * before look old.
 */
function currentTime(): number {
  return Math.min(Date.now(), performance.timeOrigin + performance.now());
}

/** Adds to a set what these names lead to. @throws as sweep */
async function addContentOf(
  layout: SweptLayout,
  names: readonly (readonly [string, Descriptor])[],
  into: Set<Digest>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const nameOf = new Map(names.map(([name, { digest }]) => [digest, name]));
  const roots = names.map(([, descriptor]) => descriptor);
  for await (const visited of walk(layout, roots, { missing: 'skip', unusable: 'report', signal })) {
    const { kind, descriptor, parents } = visited;
    into.add(descriptor.digest);
    const isLost = kind === 'unusable' || (kind === 'missing' && parents.length === 0);
    if (!isLost) continue;
    const name = nameOf.get((parents[0] ?? descriptor).digest) ?? descriptor.digest;
    const error = kind === 'unusable' ? visited.error : undefined;
    throw new CodedError(
      isCoded(error) ? error.code : 'MISSING_CONTENT',
      `${name}: ${error === undefined ? `${descriptor.digest} is missing` : messageOf(error)}; no content is removed while it is not known what it needs: push it again, or delete it`,
      { cause: error, descriptor },
    );
  }
}

interface Untagged {
  readonly name: string;
  readonly digest: Digest;
}

/**
 * Names by digest of manifests that were pushed, have no tag, and are neither below nor referrers of what is kept, in
 * whatever repository. A referrer whose subject is not in this layout stays: it may speak about content that is served
 * from elsewhere.
 * @param before milliseconds since 1970
 */
async function untaggedNames(
  layout: SweptLayout,
  { roots, activity, signal }: SweepOptions,
  before: number,
): Promise<readonly Untagged[]> {
  const children = new Map<Digest, readonly Digest[]>();
  const referrers = new Map<Digest, Digest[]>();
  const untagged = new Map<string, Digest>();
  const queue: Digest[] = [];
  for (const [name, descriptor] of roots) {
    const { digest } = descriptor;
    if (parsePushedName(name)?.digest === undefined) queue.push(digest);
    else untagged.set(name, digest);
    if (children.has(digest)) continue;
    const { manifest } = await fetchManifest(layout, descriptor, signal);
    const manifests = childrenOf(manifest).filter(({ mediaType }) => isManifestType(mediaType));
    children.set(
      digest,
      manifests.map((child) => child.digest),
    );
    const subject = manifest.subject?.digest;
    if (subject !== undefined) {
      const others = referrers.get(subject) ?? [];
      others.push(digest);
      referrers.set(subject, others);
    }
    const isYoung = ((await fileOf(layout.root, digest))?.changed ?? 0) > before;
    const isOfOther = subject !== undefined && (await fileOf(layout.root, subject)) === undefined;
    if (isYoung || isOfOther || activity?.isInUse(digest) === true) queue.push(digest);
  }
  const kept = new Set<Digest>();
  for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
    if (kept.has(digest)) continue;
    kept.add(digest);
    queue.push(...(children.get(digest) ?? []), ...(referrers.get(digest) ?? []));
  }
  return [...untagged].filter(([, digest]) => !kept.has(digest)).map(([name, digest]) => ({ name, digest }));
}

async function removeContent(
  root: string,
  kept: ReadonlySet<Digest>,
  before: number,
  { activity, dryRun = false, signal }: SweepOptions,
): Promise<Pick<Swept, 'blobs' | 'bytes' | 'waiting'>> {
  const removed = { blobs: 0, bytes: 0 };
  const waiting = { blobs: 0, bytes: 0 };
  for (const name of await filesIn(join(root, 'blobs', 'sha256'))) {
    if (!isHex64(name) || kept.has(digestFromHex(name))) continue;
    signal?.throwIfAborted();
    const digest = digestFromHex(name);
    const file = await fileOf(root, digest);
    if (file === undefined) continue;
    // Asked last: from here to the removal nothing else happens.
    const stays = file.changed > before || activity?.isInUse(digest) === true;
    const counts = stays ? waiting : removed;
    counts.blobs++;
    counts.bytes += file.size;
    if (stays || dryRun) continue;
    const go = async (): Promise<void> => void (await remove(pathOf(root, digest), false));
    await (activity === undefined ? go() : activity.removing(digest, go));
  }
  return { ...removed, waiting };
}

/** All that is being ingested; whoever calls it has seen to it that nobody works on it. */
async function removeParts(root: string, dryRun: boolean): Promise<Pick<Removed, 'partial' | 'bytes'>> {
  const ingest = join(root, 'ingest');
  const counts = { partial: 0, bytes: 0 };
  for (const name of await filesIn(ingest)) {
    if (anyLeftover.test(name)) await remove(join(ingest, name), dryRun);
    if (!anyPart.test(name)) continue;
    counts.bytes += await remove(join(ingest, name), dryRun);
    counts.partial++;
  }
  return counts;
}

function pathOf(root: string, digest: Digest): string {
  return join(root, 'blobs', 'sha256', hexOf(digest));
}

/** @returns when it was written or last relied on, in milliseconds since 1970; undefined when it is not there */
async function fileOf(
  root: string,
  digest: Digest,
): Promise<{ readonly size: number; readonly changed: number } | undefined> {
  const path = pathOf(root, digest);
  try {
    const { size, mtimeMs } = await lstat(path);
    return { size, changed: mtimeMs };
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw diskError(error, path);
  }
}

async function filesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw diskError(error, folder);
  }
}

/** @returns its bytes */
async function remove(path: string, dryRun: boolean): Promise<number> {
  try {
    const { size } = await lstat(path);
    if (!dryRun) await rm(path, { force: true });
    return size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 0;
    throw diskError(error, path);
  }
}
