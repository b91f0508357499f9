/**
 * plan: what a fetch would bring, to the byte where that can be known, and what it takes. Asks upstream for
 * manifests and catalogs, changes nothing, and lets the factory build only when told to.
 */

import { noProgress, type Progress } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { freeBytes } from '@omni-airgap/oci/fs';
import { type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { Store } from '@omni-airgap/store';
import {
  type EgressHost,
  hostPattern,
  type InsideFinding,
  insideRefusal,
  type NeededTool,
  neededTools,
  publicFactoryHost,
  type Site,
} from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { FactoryClient } from './factory/client.ts';
import { Builds, slowFactory } from './factory/file.ts';
import { Offers } from './factory/offers.ts';
import { Companions } from './images/companions.ts';
import { factsOf, findingsOfPlanned } from './inside.ts';
import { type ChosenRange, withStandIns } from './mirror/chosen-versions.ts';
import { readMirror, refuseSecrets, type WrittenMirror } from './mirror/mirror.ts';
import { hostsOf, type ResolvedMirror, resolveMirror, type WantedImage } from './mirror/resolved-mirror.ts';
import { type PlanContext, type PlannedImage, planBuilds, planImage, planLists } from './plan-items.ts';
import {
  type Planned,
  type PlannedItem,
  type PlanProblem,
  problemsOf,
  type Totals,
  totalsOf,
} from './plan-totals.ts';
import { failureOf } from './run.ts';
import { chooseUpgrade, type PlannedUpgrade } from './upgrade.ts';

interface PlanOptions {
  readonly config: string;
  readonly store: string;
  readonly network: NetworkSettings;
  /** Have the factory build what its size is asked of; default false. */
  readonly build?: boolean;
  readonly allowSecrets?: boolean;
  /** Plan a fetch that chooses the versions of ranges anew. */
  readonly update?: boolean;
  /** Names that the site has, for the way from there. */
  readonly siteNames?: readonly string[] | undefined;
  /** Write the versions that this way takes into mirror.yaml. */
  readonly write?: boolean;
  /** Count what has left the store with a bundle as missing. */
  readonly restore?: boolean;
  /** Images that lack a wanted platform are a problem. */
  readonly requirePlatforms?: boolean;
  /** The site file. */
  readonly site?: Site | undefined;
  /** Told what the factory builds. */
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface Plan extends Totals {
  /** What the ranges of mirror.yaml stand for, and what `fetch --update` would make of them. */
  readonly ranges: readonly ChosenRange[];
  /** The way from what the site has, where that was named. */
  readonly upgrade?: PlannedUpgrade;
  readonly items: readonly PlannedItem[];
  readonly freeBytes: number;
  readonly hosts: readonly EgressHost[];
  readonly warnings: readonly string[];
  /** What is known against the set inside; the warnings are among them. */
  readonly inside: readonly InsideFinding[];
  /** Programs of others that the site needs and that no bundle carries. */
  readonly tools: readonly NeededTool[];
  /** Items that a fetch would fail for; no sum has their size. */
  readonly problems: readonly PlanProblem[];
}

const itemsAtOnce = 16;

/**
 * @throws CONFIG, NO_INPUT, SECRET; BUSY while another command removes content; what an item's registry says against it
 * stands in the item and among the problems
 */
export async function plan(options: PlanOptions): Promise<Plan> {
  const mirror = await readMirror(options.config);
  if (options.allowSecrets !== true) refuseSecrets(mirror);
  // What can be wrong without upstream is found now.
  resolveMirror(withStandIns(mirror));
  const store = await openIfThere(options.store, options.signal);
  try {
    return await planInto(store, mirror, options);
  } finally {
    await store?.close();
  }
}

/**
 * The error that a fetch of the same would end with, as far as a plan can tell; undefined where nothing is wrong.
 * @param isStrict warnings count as well
 */
export function planFailure(
  { items, problems, inside }: Pick<Plan, 'items' | 'problems' | 'inside'>,
  isStrict = false,
): CodedError | undefined {
  const refusal = insideRefusal(inside, isStrict);
  if (refusal !== undefined) return new CodedError('CONFIG', refusal);
  if (problems.length === 0) return undefined;
  const failures = problems.map(({ name, code, message, because }) => ({
    name,
    error: new CodedError(code, message),
    ...(because === undefined ? {} : { because }),
  }));
  return failureOf(failures, items.length);
}

async function planInto(
  store: Store | undefined,
  written: WrittenMirror,
  options: PlanOptions,
): Promise<Plan> {
  const { build = false, restore = false, update = false, progress = noProgress, signal } = options;
  const onNote = (text: string): void => progress.note(text);
  const lock = await store?.lockDocument();
  const { config, siteNames, write = false } = options;
  const { mirror, ranges, warnings, upgrade } = await chooseUpgrade(
    written,
    { lock, network: options.network, update, look: true, scope: { onNote, signal } },
    { config, siteNames, write },
  );
  const wanted = resolveMirror(mirror);
  const layout = await store?.openLayout({ carried: !restore });
  const hosts = hostsOf(wanted);
  const network = await openNetwork(options.network, {
    hosts: hosts.map(hostPattern),
    allowPrivate: false,
    connections: itemsAtOnce,
    slowHosts: slowFactory,
    onNote,
  });
  const stoppable = { signal };
  const factory = new FactoryClient({ gate: network.gate, host: publicFactoryHost, ...stoppable });
  const context: PlanContext = {
    network,
    factory,
    offers: new Offers(factory),
    layout,
    lock,
    build,
    builds: new Builds(progress),
    companions: new Companions({ onNote, signal }),
    limit: pLimit(itemsAtOnce),
    requirePlatforms: options.requirePlatforms,
    allowSecrets: options.allowSecrets === true,
    ...stoppable,
  };
  try {
    const planned = await planAll(context, wanted, progress);
    const inside = findingsOfPlanned(wanted, planned, { inside: factsOf(mirror), site: options.site });
    return {
      ranges,
      ...(upgrade === undefined ? {} : { upgrade }),
      items: planned.map(({ item }) => item),
      ...(await totalsOf(planned, layout)),
      freeBytes: await freeBytes(options.store),
      hosts,
      warnings: [
        ...warnings,
        ...inside.filter(({ level }) => level === 'warning').map(({ message }) => message),
      ],
      inside,
      tools: neededTools(wanted.images.map(({ reference }) => reference)),
      problems: problemsOf(planned),
    };
  } finally {
    await network.close();
  }
}

/** Each image counts as an item to whoever watches, and each schematic with what is built of it. */
async function planAll(
  context: PlanContext,
  wanted: ResolvedMirror,
  progress: Progress,
): Promise<readonly Planned[]> {
  const counted = async <T>(task: Promise<T>): Promise<T> => {
    progress.expectItems?.(1);
    try {
      return await task;
    } finally {
      progress.itemsOver?.(1);
    }
  };
  const images = (list: readonly WantedImage[]): Promise<readonly PlannedImage[]> =>
    Promise.all(list.map((image) => counted(context.limit(() => planImage(context, image)))));
  const [first, builds, lists] = await Promise.all([
    images(wanted.images),
    Promise.all(wanted.builds.map((one) => counted(planBuilds(context, one)))),
    wanted.lists === undefined ? [] : planLists(context, wanted.lists),
  ]);
  const asked = new Set(wanted.images.map((image) => image.reference));
  const named = new Map(first.flatMap((one) => one.named).map((image) => [image.reference, image]));
  const second = await images([...named.values()].filter((image) => !asked.has(image.reference)));
  return [...[...first, ...second].flatMap((one) => one.planned), ...builds.flat(), ...lists];
}

async function openIfThere(root: string, signal: AbortSignal | undefined): Promise<Store | undefined> {
  try {
    return await Store.open(root, { access: 'look', purpose: 'omni-airgap plan', signal });
  } catch (error) {
    if (isCoded(error, 'NO_INPUT')) return undefined;
    throw error;
  }
}
