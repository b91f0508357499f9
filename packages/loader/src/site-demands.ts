/**
 * What Omni, machines and people demand of this site, held against the site file and the registry: before a load, where
 * only one mistake is worth stopping for, and after it, when reads without a log-in can be tried.
 */
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { parseReference } from '@omni-airgap/oci/model';
import { type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import {
  compareVersions,
  installerRepository,
  isVersion,
  parseInstallerRepository,
  publicFactoryHost,
  type ReachedRegistry,
  type Site,
  schematicFrom,
  unmetDemands,
} from '@omni-airgap/talos';
import { belowPrefix, type PlacedName, placeRepository, type RegistryTarget } from './targets/names.ts';

/**
 * @param registry as machines and Omni reach it
 * @param selfHosted whether the site runs an Image Factory of its own
 * @returns what would not work, in lines for people
 * @throws CONFIG when the site file itself names a registry that Omni cannot use, with line and column
 */
export function demandWarnings(
  site: Site,
  registry: ReachedRegistry,
  selfHosted: boolean,
): readonly string[] {
  const unmet = unmetDemands(site, registry, { selfHosted }).filter(({ severity }) => severity !== 'limits');
  const fatal = unmet.find(
    ({ subject, severity }) => subject === 'registry' && severity === 'fails' && site.registry !== undefined,
  );
  if (fatal !== undefined) throw new CodedError('CONFIG', `${site.registry?.place ?? ''}: ${fatal.problem}`);
  return unmet.map(({ problem }) => problem);
}

/** A read that some client makes without a log-in. */
interface AnonymousRead {
  /** Below the host of the registry. */
  readonly repository: string;
  readonly tag: string;
  /**
   * `image`: any image, as machines pull; `installer`: a carried installer, as machines pull it through a mirror;
   * `built`: an installer of the site's own Image Factory, which hands it on without a log-in.
   */
  readonly what: 'image' | 'installer' | 'built';
  /** Whether the tag is in the registry: then an answer that it is not tells nothing. */
  readonly exists: boolean;
}

export interface TriedRead extends AnonymousRead {
  readonly answer: 'open' | 'refused' | 'unknown';
}

/** The schematic without customization: an installer of it is as readable as those that a factory builds later. */
const plainSchematic = schematicFrom('{}').id;

/** Where a site's own Image Factory keeps the installers that it builds: artifacts.installer.internal of the hand-off. */
export function builtInstaller({ prefix }: RegistryTarget, tag: string): AnonymousRead {
  const name = `siderolabs/${installerRepository({ platform: 'metal', secureboot: false })}/${plainSchematic}`;
  return { repository: belowPrefix(prefix, name), tag, what: 'built', exists: false };
}

/** Where load places installers of the public Image Factory. */
export function carriedInstaller({ prefix }: RegistryTarget, keepHost: boolean, tag: string): AnonymousRead {
  const name = `${installerRepository({ platform: 'metal', secureboot: false })}/${plainSchematic}`;
  const repository = placeRepository({ registry: publicFactoryHost, repository: name }, prefix, keepHost);
  return { repository, tag, what: 'installer', exists: false };
}

/** What to try after a load. @param selfHosted whether the site runs an Image Factory of its own */
export function readsOf(
  names: readonly PlacedName[],
  target: RegistryTarget,
  selfHosted: boolean,
): readonly AnonymousRead[] {
  const tagged = names.flatMap(({ name, repository, tag }) =>
    tag === undefined ? [] : [{ name, repository, tag, exists: true }],
  );
  const [image] = tagged;
  const installer = tagged.find(({ name }) => isInstaller(name));
  const newest = tagged
    .filter(({ repository, tag }) => repository.endsWith('siderolabs/imager') && isVersion(tag))
    .map(({ tag }) => tag)
    .sort(compareVersions)
    .at(-1);
  return [
    ...(image === undefined ? [] : [{ ...image, what: 'image' as const }]),
    ...(installer === undefined ? [] : [{ ...installer, what: 'installer' as const }]),
    ...(selfHosted ? [builtInstaller(target, newest ?? 'latest')] : []),
  ].map(({ repository, tag, what, exists }) => ({ repository, tag, what, exists }));
}

/** An installer of the public Image Factory, by its name in a bundle. */
function isInstaller(name: string): boolean {
  const { registry, repository } = parseReference(name);
  return (
    registry === publicFactoryHost && parseInstallerRepository(repository.split('/')[0] ?? '') !== undefined
  );
}

/**
 * Asks for manifests as a client without credentials does.
 * @returns what each answer tells; `unknown` where it tells neither
 */
export async function tryReads(
  settings: NetworkSettings,
  host: string,
  reads: readonly AnonymousRead[],
  signal?: AbortSignal,
): Promise<readonly TriedRead[]> {
  if (reads.length === 0) return [];
  const anonymous = {
    ...settings,
    registryConfig: undefined,
    clientCert: undefined,
    clientKey: undefined,
    env: {},
  };
  const network = await openNetwork(anonymous, { hosts: [host], allowPrivate: true });
  try {
    const tried: TriedRead[] = [];
    for (const read of reads) {
      const answer = network.registry(host).repository(read.repository).resolve(read.tag, signal);
      tried.push({ ...read, answer: await answerOf(answer, read.exists, signal) });
    }
    return tried;
  } finally {
    await network.close();
  }
}

async function answerOf(
  found: Promise<unknown>,
  exists: boolean,
  signal: AbortSignal | undefined,
): Promise<TriedRead['answer']> {
  try {
    return (await found) !== undefined || !exists ? 'open' : 'unknown';
  } catch (error) {
    if (signal?.aborted === true) throw error;
    return isCoded(error, 'DENIED') ? 'refused' : 'unknown';
  }
}

/** Lines for people about installers that cannot be read without a log-in. */
export function refusedReads(host: string, tried: readonly TriedRead[]): readonly string[] {
  return tried.flatMap(({ what, answer, repository }) => {
    if (answer !== 'refused' || what === 'image') return [];
    const consequence =
      what === 'built'
        ? `an Image Factory hands its installers on without credentials, so machines could not install; allow anonymous pulls of ${repository.replace(/[^/]+-installer\/[0-9a-f]+$/, '*-installer')}`
        : 'machines need the log-in in the patch of the hand-off before they install; or allow anonymous pulls of it';
    return [`${host} does not let ${repository} be read without a log-in: ${consequence}`];
  });
}
