/**
 * Refuses an increment that relies on what prune removed from this site. The registry alone does not show it: until it
 * reclaims its space it still has the blobs, and its caches may have them for longer.
 */
import type { LoadRecord, PruneRecord } from '@omni-airgap/format';
import { CodedError, formatTime } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import { type KeptPrune, readLoadRecords, readPruneRecords } from './records.ts';

/** Content that is needed where it lies. */
export interface Needed {
  /** Of the registry, and what lies in its repositories. */
  readonly host: string | undefined;
  readonly content: Iterable<{ readonly repository: string; readonly digest: Digest }>;
  readonly objectStore: string | undefined;
  readonly objects: readonly { readonly key: string; readonly digest: Digest }[];
}

/**
 * @param bundle id of the increment
 * @throws MISSING_CONTENT naming what was pruned, unless it was loaded again since
 */
export async function requireUnpruned(state: string, needed: Needed, bundle: string): Promise<void> {
  const prunes = await readPruneRecords(state);
  if (prunes.length === 0) return;
  const loads = await readLoadRecords(state);
  const content = [...needed.content];
  for (const prune of prunes) {
    const { record } = prune;
    const since = loads.filter(({ receipt }) => receipt.loadedAt > record.prunedAt);
    const isHere = record.registry !== undefined && record.registry.split('/', 1)[0] === needed.host;
    const gone = isHere ? goneFrom(record, since) : new Map<string, string>();
    for (const { repository, digest } of content) {
      const name = gone.get(`${repository} ${digest}`);
      if (name !== undefined) throw refusal(bundle, `${needed.host}/${name}`, prune);
    }
    if (record.objectStore === undefined || record.objectStore !== needed.objectStore) continue;
    const keys = new Set(record.objects.map(({ key, digest }) => `${key} ${digest}`));
    for (const { receipt } of since)
      for (const { key, digest } of receipt.objects) keys.delete(`${key} ${digest}`);
    const lost = needed.objects.find(({ key, digest }) => keys.has(`${key} ${digest}`));
    if (lost !== undefined) throw refusal(bundle, `${record.objectStore}/${lost.key}`, prune);
  }
}

/** By repository and digest, the place of the image that had the content. @param since loads that may have brought it again */
function goneFrom({ manifests }: PruneRecord, since: readonly LoadRecord[]): ReadonlyMap<string, string> {
  const loaded = new Set(
    since.flatMap(({ receipt }) =>
      receipt.images.map(
        ({ target, digest }) => `${target.slice(target.indexOf('/') + 1).replace(/[:@].*$/, '')} ${digest}`,
      ),
    ),
  );
  const gone = new Map<string, string>();
  const back = new Set<string>();
  // Parents come before their children.
  for (const { repository, digest, tags, content } of manifests) {
    const isBack = [loaded, back].some((set) => set.has(`${repository} ${digest}`));
    for (const one of [digest, ...content]) {
      if (isBack) back.add(`${repository} ${one}`);
      else
        gone.set(
          `${repository} ${one}`,
          tags[0] === undefined ? `${repository}@${digest}` : `${repository}:${tags[0]}`,
        );
    }
  }
  for (const one of back) gone.delete(one);
  return gone;
}

function refusal(bundle: string, place: string, { record, receipts }: KeptPrune): CodedError {
  const since = receipts.length === 0 ? 'a receipt of this site' : receipts.join(' ');
  return new CodedError(
    'MISSING_CONTENT',
    `bundle ${bundle.slice(0, 12)} relies on content of ${place}, which was pruned here at ${formatTime(record.prunedAt)}: make the increment again with bundle --since ${since}, or load its base again first; nothing was changed`,
  );
}
