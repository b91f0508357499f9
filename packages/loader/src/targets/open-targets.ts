/**
 * Where a load goes: the registry and the object store of a site, opened and looked through before anything moves. What is
 * wrong with them, or with the bundles for them, is refused here.
 */
import {
  acceptedOf,
  checkBundleAge,
  checkEquivocation,
  checkOrigin,
  checkRollback,
} from '@omni-airgap/format';
import { hostsOf, type ObjectSink, openSink, type ReadBackMode } from '@omni-airgap/objects';
import { noProgress } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import { type Network, openNetwork } from '@omni-airgap/oci/registry';
import { requireBelievable } from '../judge.ts';
import { Missing } from '../missing.ts';
import type { LoadOptions } from '../options.ts';
import { requireUnpruned } from '../pruned.ts';
import { type Choice, Selection } from '../selection.ts';
import type { LoadSource } from '../source.ts';
import { folderState, registryState, type StateRecord, stateRepository } from '../state.ts';
import { checkRelied, findRelied } from './from-base.ts';
import { belowPrefix, placeNames, type RegistryTarget, targetText } from './names.ts';
import { type OpenStore, planObjects } from './objects/object-plan.ts';
import { noteReadBacks, preflightStore } from './objects/preflight.ts';
import { type RegistryContext, registryContext } from './registry/context.ts';
import { type OpenRegistry, readTargetStates } from './registry/target-state.ts';

/** Where a load goes, looked through. */
export interface Targets {
  readonly registry: OpenRegistry | undefined;
  readonly store: OpenStore | undefined;
  /** Where accepted bundles are recorded. */
  readonly records: readonly StateRecord[];
  /** What is left out so far. */
  readonly missing: Missing;
}

/**
 * Opens bundles and targets, refuses what is wrong with them, and closes everything at the end.
 * @param isDry reads no object back
 */
export async function withTargets<T>(
  options: LoadOptions,
  run: (targets: Targets) => Promise<T>,
  isDry = false,
): Promise<T> {
  const { source: bundles, registry: target, objectStore, progress = noProgress, signal } = options;
  const old = checkBundleAge(bundles.document, options.maxAgeDays);
  if (old !== undefined) progress.note(old);
  requireOrigin(options);
  await requireBelievable(bundles, bundles.documents);
  const targets = [...(target === undefined ? [] : [target.host]), ...hostsOf(objectStore)];
  const network = await openNetwork(options.network, {
    hosts: targets,
    identifyTo: targets,
    allowPrivate: true,
    onNote: (text) => progress.note(text),
  });
  let sink: ObjectSink | undefined;
  try {
    const context = target === undefined ? undefined : openRegistry(options, bundles, target, network);
    await context?.client.ping(belowPrefix(context.target.prefix, stateRepository), signal);
    sink =
      objectStore === undefined
        ? undefined
        : await openSink(objectStore, network, options.state, {
            readBack: readBackModes[options.verify ?? 'default'],
            note: (text) => progress.note(text),
          });
    const records = recordsOf(options, context, sink);
    if (bundles.kind === 'bundle') await checkAccepted(options, bundles, records);
    const objects = bundles.documents.flatMap(({ relies }) => relies?.objects ?? []);
    const absent = objects.filter((object) => !bundles.carries(object));
    const relied = { content: context?.source.relied ?? [], objects: absent };
    const places = { host: target?.host, objectStore: sink?.url };
    await requireUnpruned(options.state, { ...relied, ...places }, bundles.document.id);
    const missing = new Missing((text) => progress.note(text));
    const selection = new Selection(options.only, options.except);
    const { roots } = bundles.document;
    const source = context?.source ?? bundles;
    const { chosen, excluded } = await selection.choose(roots, source, signal);
    if (context !== undefined) for (const { name } of excluded) missing.exclude(name);
    const registry = context === undefined ? undefined : await lookThrough(options, context, chosen, missing);
    const all = sink === undefined ? [] : await planObjects(source, roots, options.site?.pxe);
    const planned = all.filter(({ key, name }) => selection.choosesObject(key, name));
    for (const { key } of all) if (!planned.some((one) => one.key === key)) missing.exclude(key);
    selection.requireUsed();
    let store: OpenStore | undefined;
    if (sink !== undefined) {
      const context = { source: bundles, sink, planned, progress, signal };
      if (!isDry) await preflightStore(context);
      await noteReadBacks(context, options.verify);
      const files = all.filter(({ isDocument }) => !isDocument).map(({ key }) => key);
      store = { sink, objects: await findRelied(bundles, sink, planned, isDry, signal), files };
    }
    return await run({ registry, store, records, missing });
  } finally {
    await sink?.close();
    await network.close();
  }
}

const readBackModes: Readonly<Record<'full' | 'quick' | 'default', ReadBackMode>> = {
  full: 'always',
  default: 'once',
  quick: 'never',
};

function openRegistry(
  options: LoadOptions,
  bundles: LoadSource,
  target: RegistryTarget,
  network: Network,
): RegistryContext {
  const { keepHost = false, progress = noProgress, signal } = options;
  const client = network.registry(target.host);
  return registryContext({ bundles, client, target, keepHost, progress, signal });
}

/** @throws CONFLICT, MISSING_CONTENT */
async function lookThrough(
  options: LoadOptions,
  context: RegistryContext,
  chosen: Choice['chosen'],
  missing: Missing,
): Promise<OpenRegistry> {
  const { keepHost = false, overwriteTags = false, flatten = false, trimIndexes = false } = options;
  const how = { keepHost, overwriteTags, flatten, trimIndexes };
  const places = chosen.map(({ name, descriptor }) => [name, descriptor] as const);
  // First: what the increment relies on is read to see what its names stand for here.
  await checkRelied(context, placeNames(places, context.target.prefix, keepHost));
  return { context, names: await readTargetStates(context, chosen, missing, how) };
}

/** Where accepted bundles are recorded: with the target, and on this host. */
function recordsOf(
  { state, progress = noProgress }: LoadOptions,
  registry: RegistryContext | undefined,
  sink: ObjectSink | undefined,
): readonly StateRecord[] {
  const records: StateRecord[] = [];
  if (registry !== undefined) {
    const { prefix } = registry.target;
    records.push(folderState(state, targetText(registry.target)));
    const repository = registry.repository(belowPrefix(prefix, stateRepository));
    records.push(registryState(repository, (text) => progress.note(text)));
  }
  if (sink !== undefined) records.push(folderState(state, sink.url));
  return records;
}

/** Whoever names a store means the one of this bundle. @throws USAGE */
function requireOrigin({ source, newOrigin }: LoadOptions): void {
  const { id, origin } = source.document;
  if (newOrigin === undefined || newOrigin === origin) return;
  throw new CodedError(
    'USAGE',
    `--new-origin ${newOrigin}: bundle ${id.slice(0, 12)} comes from store ${origin}; nothing was changed`,
  );
}

/** @throws ROLLBACK */
async function checkAccepted(
  { allowRollback = false, newOrigin, progress = noProgress, signal }: LoadOptions,
  bundles: LoadSource,
  records: readonly StateRecord[],
): Promise<void> {
  const accepted = (await Promise.all(records.map((record) => record.list(signal)))).flat();
  const given = bundles.documents.map((document) => acceptedOf(document, bundles.signer));
  for (const one of given) checkEquivocation(one, [...accepted, ...given]);
  const newest = acceptedOf(bundles.document, bundles.signer);
  const said = [checkOrigin(newest, accepted, newOrigin), checkRollback(newest, accepted, allowRollback)];
  for (const text of said) if (text !== undefined) progress.note(text);
}
