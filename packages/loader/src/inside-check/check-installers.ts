/**
 * Whether machines can pull what they install from. Omni requests the installer of the schematic that a machine booted
 * from, by the host of the factory's URL: an Image Factory that builds needs its sources for that; without one, what was
 * carried must be in the registry that the factory's host is mirrored to, or at the server that stands in for it.
 */
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { hexOf, parseReference } from '@omni-airgap/oci/model';
import type { Network, NetworkSettings, RepositoryClient } from '@omni-airgap/oci/registry';
import {
  compareVersions,
  factorySources,
  isFromMinor,
  isSchematicId,
  isVersion,
  publicFactoryHost,
  schematicRepository,
} from '@omni-airgap/talos';
import { builtInstaller, carriedInstaller, refusedReads, tryReads } from '../site-demands.ts';
import { placeRepository, type RegistryTarget } from '../targets/names.ts';
import { tagsOf } from './check-registry.ts';
import type { FactoryAnswer } from './check-services.ts';
import { type Finding, finding } from './finding.ts';

export interface InstallerCheck {
  readonly network: Network;
  /** Reads without a log-in are made with a network of their own. */
  readonly settings: NetworkSettings;
  readonly target: RegistryTarget;
  readonly keepHost: boolean;
  /** What answers at the factory's URL, and its host; undefined where the site names none. */
  readonly factory: (FactoryAnswer & { readonly host: string }) | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Of a site that carries many. */
const maxSchematics = 20;
const maxVersions = 5;

export async function checkInstallers(check: InstallerCheck): Promise<readonly Finding[]> {
  const reads = await anonymousReads(check);
  // One that does not answer is a finding of its own: whether it would build is not known.
  if (check.factory === undefined || check.factory.finding.state === 'failed') return reads;
  return [
    ...reads,
    ...(check.factory.kind === 'builds' ? await checkSources(check) : await checkCarried(check)),
  ];
}

/** Reads as machines and an Image Factory make them: without a log-in. */
async function anonymousReads(check: InstallerCheck): Promise<readonly Finding[]> {
  const { settings, target, keepHost, factory, signal } = check;
  const tag = 'latest';
  const reads = [
    carriedInstaller(target, keepHost, tag),
    ...(factory?.kind === 'builds' ? [builtInstaller(target, tag)] : []),
  ];
  return (await tryReads(settings, target.host, reads, signal)).map((read): Finding => {
    const [problem] = refusedReads(target.host, [read]);
    const isBuilt = read.what === 'built';
    const what = `installers ${isBuilt ? 'of the factory ' : ''}without a log-in`;
    if (problem !== undefined)
      return { subject: 'registry', what, state: isBuilt ? 'failed' : 'note', detail: problem };
    const isOpen = read.answer === 'open';
    const detail = `${isOpen ? 'may be read' : 'no clear answer for'}: ${read.repository}`;
    return { subject: 'registry', what, state: isOpen ? 'ok' : 'note', detail };
  });
}

/** What the factory builds installers from, each with a signature that it can check. */
function checkSources(check: InstallerCheck): Promise<readonly Finding[]> {
  const { network, target, keepHost, factory, signal } = check;
  const versions = (factory?.versions ?? []).filter(isVersion).sort(compareVersions).slice(-maxVersions);
  return Promise.all(
    versions.map((version) =>
      finding('installers', `sources of ${version}`, async () => {
        const missing: string[] = [];
        for (const source of factorySources(version)) {
          const { repository, tag = '', ...rest } = parseReference(source);
          const client = network
            .registry(target.host)
            .repository(placeRepository({ ...rest, repository }, target.prefix, keepHost));
          const image = await client.resolve(tag, signal);
          const signature =
            image === undefined
              ? undefined
              : await client.resolve(`sha256-${hexOf(image.digest)}.sig`, signal);
          if (image === undefined) missing.push(`${repository}:${tag}`);
          else if (signature === undefined && !repository.endsWith('/installer'))
            missing.push(`the signature of ${repository}:${tag}`);
        }
        if (missing.length === 0)
          return `the factory can build the installers of ${version} that Omni requests from ${factory?.host}`;
        throw new CodedError(
          'NOT_FOUND',
          `the factory offers ${version} but cannot build its installers: ${target.host} has no ${missing.join(', ')}; carry talos.imageFactory with ${version}, and load with --resign-key`,
        );
      }),
    ),
  );
}

/** Installers of the schematics that were loaded. */
async function checkCarried(check: InstallerCheck): Promise<readonly Finding[]> {
  const { network, target, keepHost, factory, signal } = check;
  const inRegistry = (repository: string): RepositoryClient =>
    network
      .registry(target.host)
      .repository(placeRepository({ registry: publicFactoryHost, repository }, target.prefix, keepHost));
  const ids = (await tagsOf(inRegistry(schematicRepository), signal).catch(orNone)).filter(isSchematicId);
  const found = await Promise.all(
    ids.slice(0, maxSchematics).map((id) => installersOf(check, id, inRegistry)),
  );
  const isFatal = factory?.kind === 'serves' && found.every(({ references }) => references.length === 0);
  const findings = found.map(({ id, references }): Finding => {
    const what = `schematic ${id.slice(0, 12)}…`;
    if (references.length > 0)
      return {
        subject: 'installers',
        what,
        state: 'ok',
        detail: `Omni can have ${references.join(', ')} installed`,
      };
    return {
      subject: 'installers',
      what,
      state: isFatal ? 'failed' : 'note',
      detail: `no installer of ${id} is here: where no Image Factory builds it, machines that boot media of this schematic cannot install; carry installers: [metal] beside it in mirror.yaml`,
    };
  });
  const left = ids.length - maxSchematics;
  if (left > 0)
    findings.push({
      subject: 'installers',
      what: 'more schematics',
      state: 'note',
      detail: `${left} more were not looked at`,
    });
  return findings;
}

/** As Omni names them: `factory.site:8080/metal-installer/<id>:v1.13.9`, below Talos 1.10 `installer/<id>`. */
async function installersOf(
  { factory, network, signal }: InstallerCheck,
  id: string,
  inRegistry: (repository: string) => RepositoryClient,
): Promise<{ readonly id: string; readonly references: readonly string[] }> {
  const references = new Set<string>();
  const host = factory?.host ?? '';
  for (const [name, isAsked] of [
    ['metal-installer', (version: string) => isFromMinor(version, 10)],
    ['metal-installer-secureboot', (version: string) => isFromMinor(version, 10)],
    ['installer', (version: string) => !isFromMinor(version, 10)],
  ] as const) {
    const repository = `${name}/${id}`;
    const inMirror = await tagsOf(inRegistry(repository), signal).catch(orNone);
    const versions = new Set([...inMirror, ...(factory?.versions ?? []).slice(-maxVersions)]);
    for (const version of [...versions].filter((one) => isVersion(one) && isAsked(one))) {
      const isHere =
        (inMirror.includes(version) && (await has(inRegistry(repository), version, signal))) ||
        (await has(network.registry(host).repository(repository), version, signal));
      if (isHere) references.add(`${host}/${repository}:${version}`);
    }
  }
  return { id, references: [...references].sort() };
}

async function has(
  repository: RepositoryClient,
  tag: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return (await repository.resolve(tag, signal)) !== undefined;
  } catch (error) {
    if (isCoded(error, 'ABORTED', 'INTERNAL')) throw error;
    return false;
  }
}

/** What cannot be listed has none; that the registry does not answer is a finding of its own. */
function orNone(error: unknown): readonly string[] {
  if (isCoded(error, 'ABORTED', 'INTERNAL')) throw error;
  return [];
}
