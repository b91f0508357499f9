/** The registry and the object store that prune is about, opened, and the records of what was loaded into them. */
import type { Accepted } from '@omni-airgap/format';
import { hostsOf, type ObjectSink, type ObjectStoreTarget, openSink } from '@omni-airgap/objects';
import { noProgress, type Progress } from '@omni-airgap/oci';
import { type NetworkSettings, openNetwork, type RegistryClient } from '@omni-airgap/oci/registry';
import { folderState, registryState, stateRepository } from '../state.ts';
import { belowPrefix, type RegistryTarget, targetText } from '../targets/names.ts';

export interface PruneOptions {
  readonly registry?: RegistryTarget | undefined;
  readonly objectStore?: ObjectStoreTarget | undefined;
  /** Folder for what this host remembers of loads. */
  readonly state: string;
  readonly network: NetworkSettings;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where content is deleted. */
export interface PruneSite {
  readonly registry: { readonly client: RegistryClient; readonly target: RegistryTarget } | undefined;
  readonly sink: ObjectSink | undefined;
  /** As plans and receipts name them. */
  readonly names: { readonly registry: string | undefined; readonly objectStore: string | undefined };
  /** Bundles that were accepted here, as far as the registry and this host know. */
  readonly accepted: readonly Accepted[];
  readonly signal: AbortSignal | undefined;
}

/** Opens the targets, and closes them at the end. @throws DENIED, UPSTREAM, NETWORK; CONFIG, USAGE; DISK */
export async function withSite<T>(options: PruneOptions, run: (site: PruneSite) => Promise<T>): Promise<T> {
  const { registry: target, objectStore, state, progress = noProgress, signal } = options;
  const note = (text: string): void => progress.note(text);
  const hosts = [...(target === undefined ? [] : [target.host]), ...hostsOf(objectStore)];
  const scope = { hosts, identifyTo: hosts, allowPrivate: true, onNote: note };
  const network = await openNetwork(options.network, scope);
  let sink: ObjectSink | undefined;
  try {
    const registry = target && { client: network.registry(target.host), target };
    const accepted: Accepted[] = [];
    if (registry !== undefined) {
      const { client } = registry;
      const repository = belowPrefix(registry.target.prefix, stateRepository);
      await client.ping(repository, signal);
      accepted.push(...(await registryState(client.repository(repository), note).list(signal)));
      accepted.push(...(await folderState(state, targetText(registry.target)).list(signal)));
    }
    sink = objectStore && (await openSink(objectStore, network, state, { readBack: 'once', note }));
    if (sink !== undefined) accepted.push(...(await folderState(state, sink.url).list(signal)));
    const names = { registry: target && targetText(target), objectStore: sink?.url };
    return await run({ registry, sink, names, accepted, signal });
  } finally {
    await sink?.close();
    await network.close();
  }
}
