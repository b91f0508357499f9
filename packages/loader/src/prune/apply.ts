/**
 * The second step of prune: exactly what a plan lists is deleted, after all of it was looked up again. Lists are rewritten
 * first, so that nothing offers what goes; then manifests and objects go, in the order of the plan; the record and the
 * receipts come last. After an interruption the same command finishes: what is gone already is as it should be.
 */
import {
  maxBundleDocumentBytes,
  type PlannedManifest,
  type PrunePlan,
  type PruneRecord,
  parsePrunePlan,
  type ReceiptDocument,
  serializeReceipt,
} from '@omni-airgap/format';
import { CodedError, printable } from '@omni-airgap/oci/base';
import { checkOutput, checkOutputFolder, readNamedFile, writeOutput } from '@omni-airgap/oci/fs';
import { collect, type Digest, digestOf, hexOf, openerOf } from '@omni-airgap/oci/model';
import type { Reclaiming, RepositoryClient } from '@omni-airgap/oci/registry';
import { isRefusal } from '../missing.ts';
import { lockState } from '../outputs.ts';
import { keepPruneRecord, readLoadRecords } from '../records.ts';
import { maxVersionListBytes } from '../targets/version-list.ts';
import { lookUp, type Outcome } from './outcome.ts';
import { requireDeletion, requireTarget } from './plan.ts';
import { prunedBundles, receiptsAfter } from './receipts.ts';
import type { TagRewrite } from './repository.ts';
import { type PruneOptions, type PruneSite, withSite } from './site.ts';
import { tagsOf } from './survey.ts';
import type { ObjectRewrite } from './version-lists.ts';

export interface ApplyOptions extends PruneOptions {
  /** Path of the plan. */
  readonly plan: string;
  /** What --in-use and --keep-versions say now, beside what they said for the plan. */
  readonly inputs?: Pick<PrunePlan['inputs'], 'inUse' | 'keepVersions'> | undefined;
  /** Path to write the receipt to; for a plan about one store only. A plan that lists nothing leaves none. */
  readonly receipt?: string | undefined;
}

export interface PruneReport {
  readonly record: PruneRecord;
  /** Path of the record. */
  readonly recordFile: string;
  /** What is inside now, one for each store whose bundles were pruned. */
  readonly receipts: readonly ReceiptDocument[];
  /** What this run deleted; an interrupted one deleted the rest. */
  readonly deleted: { readonly manifests: number; readonly objects: number };
  /** What the site refused to delete, each with the reason. */
  readonly refused: readonly { readonly target: string; readonly message: string }[];
  /** How the space is reclaimed, by kind of registry. */
  readonly reclaiming: readonly (Reclaiming & { readonly kind: string })[];
}

/**
 * @throws CONFLICT when the site changed since the plan, naming what did: then nothing is deleted; BUSY while a load runs;
 * BAD_DOCUMENT for a plan that was edited into something else; as planPrune
 */
export async function applyPrune(options: ApplyOptions): Promise<PruneReport> {
  const { state, receipt, signal } = options;
  const path = options.plan;
  requireTarget(options);
  const bytes = await readNamedFile('--apply', path, maxBundleDocumentBytes);
  const plan = parsePrunePlan(bytes, path);
  await checkOutputFolder('--state', state);
  if (receipt !== undefined) await checkOutput('--receipt', receipt);
  const lock = await lockState(state, 'exclusive', 'omni-airgap prune', { signal });
  try {
    return await withSite(options, async (site) => {
      requireSameTarget(plan, site, path);
      const records = await readLoadRecords(state);
      const orphans = new Map<string, Digest[]>();
      for (const { repository, digest } of plan.manifests) {
        orphans.set(repository, [...(orphans.get(repository) ?? []), digest]);
      }
      const outcome = await lookUp(site, records, inputsNow(plan, options.inputs), orphans);
      const todo = await requireUnchanged(plan, outcome, site, path);
      const bundles = prunedBundles(outcome.inventory, plan);
      const receipts = receiptsAfter(plan, outcome.inventory, bundles, options.tool);
      if (receipt !== undefined && receipts.length > 1) {
        throw new CodedError(
          'USAGE',
          `--receipt: the plan is about ${receipts.length} stores, each with a receipt of its own; leave --receipt out and take them from the record in ${state}`,
        );
      }
      await requireDeletion(site, todo);
      const refused = await carryOut(site, todo);
      const record = recordOf(plan, bytes, options.tool, bundles, refused);
      const recordFile = await keepPruneRecord(state, record, receipts);
      const [first] = receipts;
      if (receipt !== undefined && first !== undefined) {
        await writeOutput('--receipt', receipt, serializeReceipt(first), { signal });
      }
      return {
        record,
        recordFile,
        receipts,
        deleted: {
          manifests: todo.manifests.length - refused.manifests.size,
          objects: todo.objects.length - refused.objects.size,
        },
        refused: [...refused.manifests, ...refused.objects].map(([target, message]) => ({ target, message })),
        reclaiming: [...(site.registry?.client.reclaiming ?? [])].map(([kind, how]) => ({ kind, ...how })),
      };
    });
  } finally {
    await lock.release();
  }
}

/** @throws USAGE */
function requireSameTarget(plan: PrunePlan, { names }: PruneSite, path: string): void {
  for (const [flag, planned, given] of [
    ['--registry', plan.registry, names.registry],
    ['--object-store', plan.objectStore, names.objectStore],
  ] as const) {
    if (planned === given) continue;
    const is = planned === undefined ? 'is not about one' : `is about ${printable(planned)}`;
    throw new CodedError('USAGE', `${flag} ${given ?? '(none)'}: the plan ${path} ${is}`);
  }
}

/** What runs now keeps what it needs, and so does what ran when the plan was made. */
function inputsNow({ inputs }: PrunePlan, now: ApplyOptions['inputs']): PrunePlan['inputs'] {
  if (now === undefined) return inputs;
  const both = <T>(before: readonly T[], after: readonly T[]): T[] => [...new Set([...before, ...after])];
  const { inUse } = inputs;
  return {
    ...inputs,
    keepVersions: both(inputs.keepVersions, now.keepVersions),
    inUse: {
      files: both(inUse.files, now.inUse.files),
      talos: both(inUse.talos, now.inUse.talos),
      kubernetes: both(inUse.kubernetes, now.inUse.kubernetes),
      images: both(inUse.images, now.inUse.images),
    },
  };
}

/** What of a plan is still to be done. */
interface Todo {
  readonly manifests: readonly PlannedManifest[];
  readonly rewrites: readonly TagRewrite[];
  readonly objects: PrunePlan['objects'];
  readonly objectRewrites: readonly ObjectRewrite[];
}

/** Changes that a message names. */
const namedChanges = 5;

/** @throws CONFLICT */
async function requireUnchanged(
  plan: PrunePlan,
  outcome: Outcome,
  site: PruneSite,
  path: string,
): Promise<Todo> {
  const { registry, sink, signal } = site;
  const changes: string[] = [];
  const reasons = new Map(outcome.kept.map(({ target, why }) => [target, why] as const));
  const host = registry?.target.host ?? '';
  const manifests: PlannedManifest[] = [];
  const found = new Map(outcome.manifests.map((one) => [`${one.repository}@${one.digest}`, one] as const));
  for (const planned of plan.manifests) {
    const { repository, digest, tags, mediaType } = planned;
    const now = found.get(`${repository}@${digest}`);
    const at = `${host}/${repository}`;
    if (now !== undefined && now.tags.join() === tags.join())
      manifests.push({ ...planned, mediaType: now.mediaType });
    else if (now !== undefined) {
      changes.push(
        `${at}@${digest} has the tags ${now.tags.join(', ') || '(none)'} instead of ${tags.join(', ') || '(none)'}`,
      );
    } else if ((await registry?.client.repository(repository).resolve(digest, signal)) !== undefined) {
      const why = [...tags.map((tag) => `${at}:${tag}`), `${at}@${digest}`, at].map((one) =>
        reasons.get(one),
      );
      changes.push(
        `${tags.length > 0 ? `${at}:${tags[0]}` : `${at}@${digest}`} would stay now: ${why.find((one) => one !== undefined) ?? 'something needs it, or moved its tag'} (${mediaType})`,
      );
    }
  }
  const rewrites: TagRewrite[] = [];
  for (const planned of plan.rewrites) {
    const { repository, tag, from, to } = planned;
    const now = outcome.rewrites.find((one) => one.plan.repository === repository && one.plan.tag === tag);
    if (now?.plan.from === from && now.plan.to === to) rewrites.push(now);
    else if ((await registry?.client.repository(repository).resolve(tag, signal))?.digest !== to) {
      changes.push(`${host}/${repository}:${tag} is another list than it was`);
    }
  }
  const objects: PrunePlan['objects'][number][] = [];
  for (const planned of plan.objects) {
    const { key, digest } = planned;
    if (outcome.objects.some((one) => one.key === key && one.digest === digest)) objects.push(planned);
    else if ((await sink?.head(key, signal)) !== undefined) {
      const target = `${sink?.url}/${key}`;
      changes.push(`${target} would stay now: ${reasons.get(target) ?? 'a bundle that stays has it'}`);
    }
  }
  const objectRewrites: ObjectRewrite[] = [];
  for (const planned of plan.objectRewrites) {
    const { key, from, to } = planned;
    const now = outcome.objectRewrites.find((one) => one.plan.key === key);
    if (now?.plan.from === from && now.plan.to === to) objectRewrites.push(now);
    else if ((await listDigest(site, key)) !== to)
      changes.push(`${sink?.url}/${key} is another list than it was`);
  }
  if (changes.length === 0) return { manifests, rewrites, objects, objectRewrites };
  const more = changes.length > namedChanges ? `; and ${changes.length - namedChanges} more` : '';
  throw new CodedError(
    'CONFLICT',
    `${path}: the site changed since the plan was made: ${changes.slice(0, namedChanges).join('; ')}${more}; nothing was deleted now: make a new plan`,
  );
}

async function listDigest({ sink, signal }: PruneSite, key: string): Promise<Digest | undefined> {
  if (sink === undefined || (await sink.head(key, signal)) === undefined) return undefined;
  return digestOf(await collect(sink.get(key, signal), maxVersionListBytes, key));
}

/** What the site did not delete, with its reasons. */
interface RefusedItems {
  readonly manifests: Map<string, string>;
  readonly objects: Map<string, string>;
}

/** @returns what the site refused @throws CONFLICT where a tag was moved meanwhile; DENIED (401), UPSTREAM, NETWORK, DISK */
async function carryOut(site: PruneSite, todo: Todo): Promise<RefusedItems> {
  const { registry, sink, signal } = site;
  const refused: RefusedItems = { manifests: new Map(), objects: new Map() };
  const orRefused = async (
    items: Map<string, string>,
    target: string,
    work: () => Promise<unknown>,
  ): Promise<void> => {
    signal?.throwIfAborted();
    try {
      await work();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      items.set(target, error.message);
    }
  };
  for (const rewrite of registry === undefined ? [] : todo.rewrites) {
    const { repository: path, tag } = rewrite.plan;
    const repository = registry?.client.repository(path);
    const { blob, manifest } = rewrite;
    if (blob !== undefined) await repository?.push(blob.descriptor, openerOf(blob.bytes), signal);
    await repository?.push(manifest.descriptor, openerOf(manifest.bytes), signal);
    await repository?.tag(manifest.descriptor, tag, signal);
  }
  for (const { plan, bytes } of todo.objectRewrites) {
    const descriptor = { digest: digestOf(bytes), size: bytes.byteLength };
    const content = { kind: 'bytes', bytes } as const;
    await sink?.put(
      { key: plan.key, descriptor, contentType: 'application/json', content },
      () => {},
      signal,
    );
  }
  let checked: string | undefined;
  for (const [i, { repository: path, digest, mediaType }] of todo.manifests.entries()) {
    const repository = registry?.client.repository(path);
    if (repository === undefined) break;
    // The survey may be minutes old; deleting a manifest also removes any tag set since then.
    if (checked !== path) await requireSameTags(repository, todo.manifests.slice(i), path, signal);
    checked = path;
    const target = `${repository.registry}/${path}@${digest}`;
    await orRefused(refused.manifests, target, async () => {
      const there = await repository.resolve(digest, signal);
      if (there !== undefined) await repository.delete({ ...there, mediaType }, signal);
    });
  }
  for (const { key } of sink === undefined ? [] : todo.objects) {
    await orRefused(refused.objects, `${sink?.url}/${key}`, async () => sink?.remove(key, signal));
  }
  return refused;
}

/** @param manifests what is left to do: those at its beginning are of this repository @throws CONFLICT */
async function requireSameTags(
  repository: RepositoryClient,
  manifests: readonly PlannedManifest[],
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const now = await tagsOf(repository, signal);
  const end = manifests.findIndex((one) => one.repository !== path);
  for (const { digest, tags } of end < 0 ? manifests : manifests.slice(0, end)) {
    const is = [...now].filter(([, descriptor]) => descriptor.digest === digest).map(([tag]) => tag);
    if (is.join() === tags.join()) continue;
    throw new CodedError(
      'CONFLICT',
      `${repository.registry}/${path}@${digest} has the tags ${is.join(', ') || '(none)'} since a moment ago; it was not deleted: make a new plan`,
    );
  }
}

function recordOf(
  plan: PrunePlan,
  bytes: Uint8Array,
  tool: string,
  bundles: readonly string[],
  refused: RefusedItems,
): PruneRecord {
  const { registry, objectStore, rewrites, objectRewrites } = plan;
  const host = registry?.split('/', 1)[0];
  return {
    kind: 'omni-airgap/prune-record',
    schema: 1,
    prunedAt: new Date().toISOString(),
    tool,
    ...(registry === undefined ? {} : { registry }),
    ...(objectStore === undefined ? {} : { objectStore }),
    plan: hexOf(digestOf(bytes)),
    bundles: [...bundles],
    manifests: plan.manifests.filter(
      ({ repository, digest }) => !refused.manifests.has(`${host}/${repository}@${digest}`),
    ),
    rewrites,
    objects: plan.objects.filter(({ key }) => !refused.objects.has(`${objectStore}/${key}`)),
    objectRewrites,
  };
}
