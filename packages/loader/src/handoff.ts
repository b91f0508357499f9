/**
 * Writes the files that a site goes on with: what was loaded and what the site said, as configuration. A file that
 * somebody has changed since is never written over: the new text is put beside it.
 */

import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { dirname, join, relative, resolve } from 'node:path';
import { serializeDocument } from '@omni-airgap/format';
import type { ObjectStoreTarget } from '@omni-airgap/objects';
import { byText, CodedError, parseStrictObject, recoded } from '@omni-airgap/oci/base';
import {
  ensureFolder,
  readNamedFile,
  readSmallFile,
  removeFile,
  writeFileAtomic,
  writeOutput,
} from '@omni-airgap/oci/fs';
import { type Digest, parseReference, type Reference } from '@omni-airgap/oci/model';
import {
  type CarriedSchematic,
  compareVersions,
  type HandoffInput,
  handoffFiles,
  isSchematicId,
  isVersion,
  parseInstallerRepository,
  parseSite,
  publicFactoryHost,
  type ReachedRegistry,
  registryOfSite,
  type Site,
  TalosError,
} from '@omni-airgap/talos';
import type { RegistryTarget } from './targets/names.ts';

interface SiteDescription {
  /** Folder of the hand-off. */
  readonly folder: string;
  /** Names in the bundle, and what each stands for in the registry. */
  readonly names: readonly { readonly name: string; readonly digest: Digest }[];
  /** Tags of the registry that stand for trimmed indexes. */
  readonly trimmed: readonly string[];
  /** Names of earlier bundles that the loaded one withdraws. */
  readonly withdraws: readonly string[];
  readonly site: Site;
  readonly target: RegistryTarget;
  readonly plainHttp: boolean;
  readonly keepHost: boolean;
  readonly objectStore: ObjectStoreTarget | undefined;
  readonly ca: string | undefined;
  readonly resignKey: KeyObject | undefined;
}

/** What the files are made from. @throws CONFIG where the site file contradicts the load, with line and column */
export function describeSite(description: SiteDescription): HandoffInput {
  const { target, plainHttp, keepHost, objectStore, ca, resignKey } = description;
  const site = seenFrom(description.folder, description.site);
  const references = description.names.map(({ name, digest }) => ({
    ...parseReference(name),
    loaded: digest,
  }));
  const tagsOf = (...repositories: string[]): readonly string[] =>
    [
      ...new Set(
        references.flatMap(({ repository, tag }) =>
          repositories.includes(repository) && tag !== undefined ? [tag] : [],
        ),
      ),
    ]
      .filter(isVersion)
      .sort(compareVersions);
  const carried = carriedSchematics(references);
  const talosVersions = new Set([
    ...tagsOf('siderolabs/imager', 'siderolabs/installer-base'),
    ...carried.map(({ version }) => version),
  ]);
  const seen = registryAsSeen(site, { ...target, plainHttp });
  const newest = (repository: string): string | undefined => tagsOf(repository).at(-1);
  const [omniVersion, factoryVersion, dexVersion] = [
    newest('siderolabs/omni'),
    newest('siderolabs/image-factory'),
    newest('dexidp/dex'),
  ];
  const imageDigests = new Map(
    [
      ['siderolabs/omni', omniVersion] as const,
      ['siderolabs/image-factory', factoryVersion] as const,
      ['dexidp/dex', dexVersion] as const,
    ].flatMap(([repository, version]) => {
      const found = references.find((one) => one.repository === repository && one.tag === version);
      return version === undefined || found === undefined ? [] : [[repository, found.loaded] as const];
    }),
  );
  return {
    folder: resolve(description.folder),
    site,
    registry: { ...seen, keepHost },
    imageDigests,
    trimmed: description.trimmed,
    withdraws: description.withdraws,
    talosVersions: [...talosVersions].sort(compareVersions),
    kubernetesVersions: tagsOf('siderolabs/kubelet'),
    imageHosts: [...new Set(references.map(({ registry }) => registry))].filter(
      (host) => host !== publicFactoryHost,
    ),
    carried,
    sources: tagsOf('siderolabs/imager'),
    hasInstallers: carried.some(({ installers }) => installers.length > 0),
    omniVersion,
    factoryVersion,
    dexVersion,
    ca,
    ...(objectStore?.kind === 's3'
      ? {
          bucket: {
            bucket: objectStore.settings.bucket,
            endpoint: objectStore.settings.endpoint.href,
            region: objectStore.settings.region,
          },
        }
      : {}),
    ...(resignKey === undefined
      ? {}
      : { signingKey: createPublicKey(resignKey).export({ type: 'spki', format: 'pem' }).toString() }),
  };
}

/** What came of the public Image Factory, by schematic and Talos version; the newest version first. */
function carriedSchematics(references: readonly Reference[]): readonly CarriedSchematic[] {
  const carried = new Map<string, CarriedSchematic>();
  for (const { registry, repository, tag = '' } of references) {
    const [name = '', id = ''] = repository.split('/');
    const isInstaller = parseInstallerRepository(name) !== undefined;
    const isMedia = name === 'talos-media';
    if (registry !== publicFactoryHost || !(isInstaller || isMedia)) continue;
    if (!isSchematicId(id) || !isVersion(tag)) continue;
    const one = carried.get(`${id} ${tag}`) ?? { id, version: tag, hasMedia: false, installers: [] };
    carried.set(`${id} ${tag}`, {
      ...one,
      hasMedia: one.hasMedia || isMedia,
      installers: isInstaller ? [...one.installers, name] : one.installers,
    });
  }
  return [...carried.values()].sort((a, b) => compareVersions(b.version, a.version) || byText(a.id, b.id));
}

/** As registryOfSite. @throws CONFIG */
export function registryAsSeen(site: Site, reached: ReachedRegistry): ReachedRegistry {
  try {
    return registryOfSite(site, reached);
  } catch (error) {
    throw recoded(error, TalosError, 'CONFIG');
  }
}

/** The site with its paths as files in a folder name them. */
function seenFrom(folder: string, site: Site): Site {
  const from = (path: string): string => {
    const text = relative(resolve(folder), resolve(path));
    return text.startsWith('../') ? text : `./${text}`;
  };
  return withPaths(site, from);
}

function withPaths(site: Site, map: (path: string) => string): Site {
  const { caFile, certificates, secrets, oidc } = site;
  return {
    ...site,
    ...(certificates === undefined
      ? {}
      : {
          certificates: Object.fromEntries(
            Object.entries(certificates).map(([service, { chain, key }]) => [
              service,
              { chain: map(chain), key: map(key) },
            ]),
          ),
        }),
    ...(caFile === undefined ? {} : { caFile: map(caFile) }),
    ...(secrets === undefined ? {} : { secrets: map(secrets) }),
    ...(oidc === undefined ? {} : { oidc: { ...oidc, clientSecretFile: map(oidc.clientSecretFile) } }),
  };
}

export interface WrittenHandoff {
  readonly folder: string;
  readonly files: readonly string[];
  /** Changed by somebody: the new text is in `<name>.new`. */
  readonly kept: readonly string[];
}

/** Remembers what was written, to tell what somebody changed. */
const recordName = '.omni-airgap.json';
const maxFileBytes = 4 * 1024 * 1024;

/** Folders below the hand-off that have files of it. */
export const handoffFolders: readonly string[] = ['quadlets'];

/** @throws DISK */
export async function writeHandoff(folder: string, input: HandoffInput): Promise<WrittenHandoff> {
  for (const below of ['', ...handoffFolders]) await ensureFolder(join(folder, below));
  const record = await readSmallFile(join(folder, recordName), maxFileBytes);
  const before = record === undefined ? {} : parseStrictObject(record, { what: join(folder, recordName) });
  const written: Record<string, string> = {};
  const files: string[] = [];
  const kept: string[] = [];
  for (const { name, text } of handoffFiles(input)) {
    const path = join(folder, name);
    const there = await readSmallFile(path, maxFileBytes);
    const sha256 = sha256Of(Buffer.from(text));
    const isOurs = there === undefined || [before[name], sha256].includes(sha256Of(there));
    files.push(name);
    if (isOurs) {
      written[name] = sha256;
      await writeOutput('--handoff', path, text);
    } else {
      written[name] = String(before[name] ?? '');
      kept.push(name);
      await writeFileAtomic(`${path}.new`, text);
    }
  }
  await writeFileAtomic(join(folder, recordName), serializeDocument(written));
  await removeFormer(folder, before, new Set(files));
  return { folder, files, kept };
}

/**
 * Removes what a load before wrote, nobody changed and this site has no use for any more: a quadlet would start a service
 * that the site has not.
 */
async function removeFormer(
  folder: string,
  before: Readonly<Record<string, unknown>>,
  files: ReadonlySet<string>,
): Promise<void> {
  for (const [name, sha256] of Object.entries(before)) {
    if (files.has(name) || !/^(?:quadlets\/)?[a-z0-9][a-z0-9.-]*$/i.test(name)) continue;
    const path = join(folder, name);
    const there = await readSmallFile(path, maxFileBytes);
    if (there !== undefined && sha256Of(there) === sha256) await removeFile(path);
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

interface SiteFile {
  /** Its paths are absolute. */
  readonly site: Site;
  /** PEM. */
  readonly ca?: string;
}

const maxSiteBytes = 64 * 1024;
const maxCaBytes = 1024 * 1024;

/** A path in it is relative to the file. @throws NO_INPUT; CONFIG with file, line and column */
export async function readSite(path: string): Promise<SiteFile> {
  const bytes = await readNamedFile('--site', path, maxSiteBytes);
  let site: Site;
  try {
    site = parseSite(bytes, path);
  } catch (error) {
    throw recoded(error, TalosError, 'CONFIG');
  }
  site = withPaths(site, (file) => resolve(dirname(path), file));
  if (site.caFile === undefined) return { site };
  const ca = (await readNamedFile(`${path}: caFile`, site.caFile, maxCaBytes)).toString('latin1');
  if (!ca.includes('-----BEGIN CERTIFICATE-----') || ca.includes('PRIVATE KEY')) {
    throw new CodedError(
      'CONFIG',
      `${path}: caFile ${site.caFile}: must hold PEM certificates and nothing else`,
    );
  }
  return { site, ca: `${ca.trim()}\n` };
}
