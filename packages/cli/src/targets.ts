/** Registry and object store inside, as the commands that load, check and prune take them by flags. */
import { parseRegistryTarget } from '@omni-airgap/loader';
import { type ObjectStoreTarget, parseObjectStore, plainHttpHostsOf } from '@omni-airgap/objects';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import type { Site } from '@omni-airgap/talos';
import { type NetworkFlags, networkSettings } from './network.ts';
import type { Session } from './session.ts';

export interface TargetFlags extends NetworkFlags {
  readonly registry?: string;
  readonly objectStore?: string;
  readonly s3Endpoint?: string;
  readonly s3Addressing?: 'path' | 'virtual';
}

interface Targets {
  readonly registry: ReturnType<typeof parseRegistryTarget> | undefined;
  readonly objectStore: ObjectStoreTarget | undefined;
  readonly network: NetworkSettings;
}

/**
 * @param site says what the flags leave out: where the object store answers, and the site's authority
 * @throws USAGE, CONFIG for targets that cannot be used
 */
export async function readTargets(
  { env }: Session,
  flags: TargetFlags,
  site: Pick<Site, 'objectStore' | 'caFile'> = {},
): Promise<Targets> {
  const registry = flags.registry === undefined ? undefined : parseRegistryTarget(flags.registry);
  const endpoint = flags.s3Endpoint ?? site.objectStore;
  const objectStore =
    flags.objectStore === undefined
      ? undefined
      : await parseObjectStore(flags.objectStore, endpoint, env, flags.s3Addressing);
  const plainHttp = [...flags.plainHttp, ...plainHttpHostsOf(objectStore)];
  const caCert = flags.caCert ?? site.caFile;
  return { registry, objectStore, network: networkSettings({ ...flags, plainHttp, caCert }, env, false) };
}
