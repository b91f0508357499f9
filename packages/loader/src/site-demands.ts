/**
 * What Omni, machines and people demand of this site, held against the site file and the registry: before a load, where
 * only one mistake is worth stopping for, and after it.
 */
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { type ReachedRegistry, type Site, unmetDemands } from '@omni-airgap/talos';

/**
 * @param registry as machines and Omni reach it
 * @returns what would not work, in lines for people
 * @throws CONFIG when the site file itself names a registry that Omni cannot use, with line and column
 */
export function demandWarnings(site: Site, registry: ReachedRegistry): readonly string[] {
  const unmet = unmetDemands(site, registry);
  const fatal = unmet.find(({ subject }) => subject === 'registry' && site.registry !== undefined);
  if (fatal !== undefined) throw new CodedError('CONFIG', `${site.registry?.place ?? ''}: ${fatal.problem}`);
  return unmet.map(({ problem }) => problem);
}

/**
 * Asks for a manifest as a client without credentials does, such as an Image Factory that hands on installers.
 * @param tag is in the repository
 * @returns undefined where the answer tells neither
 */
export async function needsLogIn(
  settings: NetworkSettings,
  host: string,
  { repository, tag }: { readonly repository: string; readonly tag: string },
  signal?: AbortSignal,
): Promise<boolean | undefined> {
  const anonymous = {
    ...settings,
    registryConfig: undefined,
    clientCert: undefined,
    clientKey: undefined,
    env: {},
  };
  const network = await openNetwork(anonymous, { hosts: [host], allowPrivate: true });
  try {
    const found = await network.registry(host).repository(repository).resolve(tag, signal);
    return found === undefined ? undefined : false;
  } catch (error) {
    if (signal?.aborted === true) throw error;
    return isCoded(error, 'DENIED') ? true : undefined;
  } finally {
    await network.close();
  }
}
