/**
 * The two documents of prune: the plan, which a person reads before it is applied, and the record of what was deleted. Both
 * name content by digest, so that a registry that changed in between is noticed.
 */
import { CodedError } from '@omni-airgap/oci/base';
import { isRepository, isTag } from '@omni-airgap/oci/model';
import * as v from 'valibot';
import {
  bytesSchema,
  digestSchema,
  hex64Schema,
  manyOf,
  parseDocument,
  textSchema,
  timeSchema,
} from './schema.ts';

const repositorySchema = v.pipe(textSchema, v.check(isRepository, 'must be a repository path'));
const tagSchema = v.pipe(textSchema, v.check(isTag, 'must be a tag'));
const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const manifestSchema = v.strictObject({
  /** Below the host of the registry. */
  repository: repositorySchema,
  digest: digestSchema,
  mediaType: textSchema,
  /** All tags that stand for it, sorted; empty for children of indexes and for referrers. */
  tags: manyOf(tagSchema),
  /** Names in the bundles that brought it; empty for children of indexes. */
  names: manyOf(textSchema),
  /** Config, layers and children that nothing else in the repository needs, as far as is known. */
  content: manyOf(digestSchema),
});
export type PlannedManifest = v.InferOutput<typeof manifestSchema>;

/** A list whose entries of pruned content go, and whose others stay. */
const tagRewriteSchema = v.strictObject({
  repository: repositorySchema,
  tag: tagSchema,
  from: digestSchema,
  to: digestSchema,
  /** Entries that go: digests of referrers, or Talos versions. */
  removed: manyOf(textSchema),
  kept: countSchema,
});
const objectRewriteSchema = v.strictObject({
  key: textSchema,
  from: digestSchema,
  to: digestSchema,
  removed: manyOf(textSchema),
  kept: countSchema,
});
const objectSchema = v.strictObject({ key: textSchema, digest: digestSchema, size: bytesSchema });

/** What decides besides the receipts. */
const inputsSchema = v.strictObject({
  /** Bundles of each store that keep what they name. */
  keep: v.pipe(countSchema, v.minValue(1), v.maxValue(1000)),
  /** Of --keep-versions. */
  keepVersions: manyOf(textSchema),
  /** What the files of --in-use say that runs. */
  inUse: v.strictObject({
    files: manyOf(v.strictObject({ path: textSchema, sha256: hex64Schema })),
    talos: manyOf(textSchema),
    kubernetes: manyOf(textSchema),
    /** References with tag or digest, and bare digests. */
    images: manyOf(textSchema),
  }),
});
export type PruneInputs = v.InferOutput<typeof inputsSchema>;

const targetMembers = {
  registry: v.optional(textSchema),
  objectStore: v.optional(textSchema),
} as const;

const planSchema = v.strictObject({
  kind: v.literal('omni-airgap/prune-plan'),
  schema: v.literal(1),
  plannedAt: timeSchema,
  tool: textSchema,
  ...targetMembers,
  inputs: inputsSchema,
  /** Of each store: the bundles that keep what they name, and those that do not; the newest first. */
  origins: manyOf(
    v.strictObject({
      origin: textSchema,
      kept: manyOf(v.strictObject({ bundle: hex64Schema, sequence: countSchema })),
      older: manyOf(v.strictObject({ bundle: hex64Schema, sequence: countSchema })),
    }),
  ),
  /** In the order in which they are deleted. */
  manifests: manyOf(manifestSchema),
  rewrites: manyOf(tagRewriteSchema),
  objects: manyOf(objectSchema),
  objectRewrites: manyOf(objectRewriteSchema),
  /** What older bundles brought and stays all the same. */
  kept: manyOf(v.strictObject({ target: textSchema, why: textSchema })),
  /** Bytes that go at most; other repositories may share content. */
  bytes: bytesSchema,
});
export type PrunePlan = v.InferOutput<typeof planSchema>;

const recordSchema = v.strictObject({
  kind: v.literal('omni-airgap/prune-record'),
  schema: v.literal(1),
  prunedAt: timeSchema,
  tool: textSchema,
  ...targetMembers,
  /** sha256 of the plan file. */
  plan: hex64Schema,
  /** Ids of bundles whose content is no longer complete inside. */
  bundles: manyOf(hex64Schema),
  manifests: manyOf(manifestSchema),
  rewrites: manyOf(tagRewriteSchema),
  objects: manyOf(objectSchema),
  objectRewrites: manyOf(objectRewriteSchema),
});
export type PruneRecord = v.InferOutput<typeof recordSchema>;

/** @throws BAD_DOCUMENT */
export function parsePrunePlan(bytes: Uint8Array, what: string): PrunePlan {
  const plan = parseDocument(planSchema, bytes, what, 1);
  if (plan.registry === undefined && plan.manifests.length + plan.rewrites.length > 0) {
    throw new CodedError('BAD_DOCUMENT', `${what}: registry: missing, though manifests are listed`);
  }
  if (plan.objectStore === undefined && plan.objects.length + plan.objectRewrites.length > 0) {
    throw new CodedError('BAD_DOCUMENT', `${what}: objectStore: missing, though objects are listed`);
  }
  return plan;
}

/** @throws BAD_DOCUMENT */
export function parsePruneRecord(bytes: Uint8Array, what: string): PruneRecord {
  return parseDocument(recordSchema, bytes, what, 1);
}
