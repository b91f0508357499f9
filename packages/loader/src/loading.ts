/**
 * A load that is under way: bundles and targets opened, what is there looked up, and what is wrong refused before
 * anything is moved. Everything is closed at the end.
 */
import { join } from 'node:path';
import { checkBundleAge } from '@omni-airgap/format';
import type { ObjectSink } from '@omni-airgap/objects';
import { openSink } from '@omni-airgap/objects';
import { noProgress, type Progress } from '@omni-airgap/oci';
import { type Network, openNetwork } from '@omni-airgap/oci/registry';
import type { LoadOptions } from './load-options.ts';
import { type PlannedObject, planObjects } from './objects/object-plan.ts';
import { findRelied } from './objects/relied-objects.ts';
import { type RegistryContext, registryContext } from './registry/context.ts';
import { belowPrefix } from './registry/preflight.ts';
import { checkRelied } from './registry/relied.ts';
import { type Surveyed, surveyRegistry } from './registry/survey.ts';
import { LoadSource } from './source.ts';
import { Spool } from './spool.ts';
import {
  acceptedOf,
  checkEquivocation,
  checkRollback,
  folderState,
  registryState,
  type StateRecord,
} from './state.ts';
import { type RegistryTarget, targetText } from './target-names.ts';

/** What all steps of a load share. */
export interface Loading {
  readonly options: LoadOptions;
  readonly bundles: LoadSource;
  readonly registry: RegistryContext | undefined;
  readonly names: readonly Surveyed[];
  readonly sink: ObjectSink | undefined;
  readonly objects: readonly PlannedObject[];
  readonly records: readonly StateRecord[];
  readonly progress: Progress;
}

/** Opens bundles and targets, looks what is there, and closes everything at the end. */
export async function withLoading<T>(
  options: LoadOptions,
  run: (loading: Loading) => Promise<T>,
): Promise<T> {
  const { registry: target, objectStore, progress = noProgress, signal } = options;
  const spool = options.spool === undefined ? undefined : new Spool(options.spool);
  const bundles = await LoadSource.open(options.bundles, options.trust, spool);
  const old = checkBundleAge(bundles.document, options.maxAgeDays);
  if (old !== undefined) progress.note(old);
  const network = await openNetwork(options.network, {
    hosts: [
      ...(target === undefined ? [] : [target.host]),
      ...(objectStore?.kind === 's3' ? [objectStore.settings.endpoint.host] : []),
    ],
    allowPrivate: true,
  });
  let sink: ObjectSink | undefined;
  try {
    const registry = target === undefined ? undefined : openRegistry(options, bundles, target, network);
    await registry?.client.ping(signal);
    sink =
      objectStore === undefined
        ? undefined
        : await openSink(objectStore, network, join(options.state, 'uploads'), {
            readBack: options.verify !== 'quick',
          });
    const records = recordsOf(options, registry, sink);
    const accepted = (await Promise.all(records.map((record) => record.list(signal)))).flat();
    const given = bundles.bundles.map(({ document }) => acceptedOf(document, bundles.signer));
    for (const one of given) checkEquivocation(one, [...accepted, ...given]);
    const newest = acceptedOf(bundles.document, bundles.signer);
    const taken = checkRollback(newest, accepted, options.allowRollback === true);
    if (taken !== undefined) progress.note(taken);
    const names =
      registry === undefined
        ? []
        : await surveyRegistry(registry, {
            keepHost: options.keepHost === true,
            overwriteTags: options.overwriteTags === true,
            flatten: options.flatten === true,
          });
    if (registry !== undefined) await checkRelied(registry, names);
    const objects =
      sink === undefined
        ? []
        : await findRelied(
            bundles,
            sink,
            await planObjects(registry?.source ?? bundles, bundles.document.roots, options.site?.pxe),
            signal,
          );
    return await run({ options, bundles, registry, names, sink, objects, records, progress });
  } finally {
    await sink?.close();
    await network.close();
  }
}

function openRegistry(
  options: LoadOptions,
  bundles: LoadSource,
  target: RegistryTarget,
  network: Network,
): RegistryContext {
  const { progress = noProgress, signal } = options;
  return registryContext({
    bundles,
    client: network.registry(target.host),
    target,
    keepHost: options.keepHost === true,
    progress,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Where accepted bundles are recorded: with the target, and on this host. */
function recordsOf(
  options: LoadOptions,
  registry: RegistryContext | undefined,
  sink: ObjectSink | undefined,
): readonly StateRecord[] {
  const { progress = noProgress } = options;
  const records: StateRecord[] = [];
  if (registry !== undefined) {
    const { prefix } = registry.target;
    records.push(folderState(options.state, targetText(registry.target)));
    const repository = registry.repository(belowPrefix(prefix, 'omni-airgap/state'));
    records.push(registryState(repository, (text) => progress.note(text)));
  }
  if (sink !== undefined) records.push(folderState(options.state, sink.url));
  return records;
}
