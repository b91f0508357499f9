/** What a load would do: each name and key, whether it is there, and how many bytes would move. */

import { walk } from '@omni-airgap/oci';
import { settleAll } from '@omni-airgap/oci/base';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type { MissingItem } from './missing.ts';
import type { OpenStore } from './targets/objects/object-plan.ts';
import type { Targets } from './targets/open-targets.ts';
import type { RegistryContext } from './targets/registry/context.ts';
import { isGrowOnly } from './targets/registry/grow-only.ts';
import type { OpenRegistry, TargetState } from './targets/registry/target-state.ts';

interface PlannedItem {
  /** Name in the bundle, or the key. */
  readonly name: string;
  readonly target: string;
  readonly digest: Digest;
  /** `unite`: what is there stays and what comes is added. */
  readonly action: 'store' | 'present' | 'unite' | 'replace';
  /** Bytes of its content that are not there yet; content that several share counts once. */
  readonly bytes: number;
}

export interface PlannedLoad {
  readonly bundle: string;
  readonly images: readonly PlannedItem[];
  readonly objects: readonly PlannedItem[];
  /** Bytes that would be sent. */
  readonly bytes: number;
  /** What would be left out, as far as it is known before anything is sent. */
  readonly missing: readonly MissingItem[];
}

const lookupsAtOnce = 16;

/** @throws BAD_DOCUMENT, DIGEST_MISMATCH; DENIED, UPSTREAM, NETWORK */
export async function planLoad(
  bundle: string,
  { registry, store, missing }: Targets,
  signal?: AbortSignal,
): Promise<PlannedLoad> {
  const images = registry === undefined ? [] : await planImages(registry);
  const objects = store === undefined ? [] : await planFiles(store, signal);
  const bytes = [...images, ...objects].reduce((sum, item) => sum + item.bytes, 0);
  return { bundle, images, objects, bytes, missing: missing.items };
}

async function planImages({ context, names }: OpenRegistry): Promise<readonly PlannedItem[]> {
  const { source, signal } = context;
  const walks = pLimit(lookupsAtOnce);
  const lookups = pLimit(lookupsAtOnce);
  /** A blob that one repository has, or gets, is not sent again for another one. */
  const known = new Set<string>();
  const select = async (child: Descriptor): Promise<boolean> =>
    !known.has(child.digest) && (await source.has(child));
  const missingBelow = async (repository: string, root: Descriptor): Promise<number> => {
    if (known.has(root.digest)) return 0;
    const found: Descriptor[] = [];
    for await (const { kind, descriptor } of walk(source, [root], { select, signal })) {
      if (known.has(descriptor.digest)) continue;
      known.add(descriptor.digest);
      // What no repository has and no bundle carries is not moved: files that lie in an object store.
      if (kind === 'blob' && !(await source.has(descriptor))) continue;
      found.push(descriptor);
    }
    const target = context.repository(repository);
    const bytes = await settleAll(
      found.map((descriptor) =>
        lookups(async () => ((await target.has(descriptor, signal)) ? 0 : descriptor.size)),
      ),
    );
    return bytes.reduce((sum, size) => sum + size, 0);
  };
  return settleAll(
    names.map((name) =>
      walks(async (): Promise<PlannedItem> => {
        const { repository, tag, descriptor } = name;
        const at = `${context.target.host}/${repository}`;
        return {
          name: name.name,
          target: tag === undefined ? `${at}@${descriptor.digest}` : `${at}:${tag}`,
          digest: descriptor.digest,
          action: await actionOf(context, name),
          bytes: await missingBelow(repository, descriptor),
        };
      }),
    ),
  );
}

async function actionOf(context: RegistryContext, name: TargetState): Promise<PlannedItem['action']> {
  const { there, tag, repository, descriptor } = name;
  if (tag === undefined) {
    return (await context.repository(repository).has(descriptor, context.signal)) ? 'present' : 'store';
  }
  if (there === undefined) return 'store';
  if (there.digest === descriptor.digest) return 'present';
  return isGrowOnly(name) ? 'unite' : 'replace';
}

async function planFiles(
  { sink, objects }: OpenStore,
  signal?: AbortSignal,
): Promise<readonly PlannedItem[]> {
  const limit = pLimit(lookupsAtOnce);
  return settleAll(
    objects.map(({ key, descriptor, isVersionList, from }) =>
      limit(async (): Promise<PlannedItem> => {
        const target = `${sink.url}/${key}`;
        const { digest } = descriptor;
        if (from === key) return { name: key, target, digest, action: 'present', bytes: 0 };
        const there = await sink.head(key, signal);
        const isSame = there?.size === descriptor.size && there.digest === digest;
        const replaces = isVersionList ? 'unite' : 'replace';
        return {
          name: key,
          target,
          digest,
          action: there === undefined ? 'store' : isSame ? 'present' : replaces,
          bytes: isSame ? 0 : descriptor.size,
        };
      }),
    ),
  );
}
