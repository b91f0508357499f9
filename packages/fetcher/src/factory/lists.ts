/**
 * What the Image Factory knows besides builds: the Talos versions, extensions and overlays it offers, talosctl, its
 * certificate and key. Stored as artifacts, one layer a file, so that the same questions can be answered inside.
 * Source: siderolabs/image-factory docs/api.md.
 */

import { CodedError } from '@omni-airgap/oci/base';
import { descriptorOf, MediaType, openerOf, plain } from '@omni-airgap/oci/model';
import type { LockedFile, LockedItem } from '@omni-airgap/store';
import {
  artifactName,
  catalogArtifactType,
  compareVersions,
  isTalosctlName,
  isVersion,
  type ListName,
  officialPath,
  parseVersion,
  publicFactoryHost,
  talosctlPath,
  versionsPath,
} from '@omni-airgap/talos';
import type { WantedLists } from '../mirror/resolved-mirror.ts';
import { fileArtifact, isWhole, storeArtifact, type TitledFile } from './artifacts.ts';
import type { FactoryClient } from './client.ts';
import { descriptorOfFile, type FactoryContext, fetchFile, requireRight } from './file.ts';
import { catalogNames, jsonOf, maxListBytes } from './offers.ts';

/** @throws UPSTREAM for an answer that is not what its path promises */
type ListCheck = (bytes: Uint8Array, path: string) => void;

/** One artifact to make: its name in the store tells what it is. */
export interface ListTask {
  readonly name: string;
  run(): Promise<LockedItem | undefined>;
}

/** @returns tasks that give an item, or undefined where the factory does not offer it */
export function listTasks(context: FactoryContext, wanted: WantedLists): readonly ListTask[] {
  const { versions, talosctlVersions } = wanted;
  const small = (
    list: ListName,
    version: string | undefined,
    file: string,
    path: string,
    check: ListCheck,
  ): ListTask => {
    const name = listName(list, version);
    return {
      name,
      run: async () => {
        const bytes = await context.offers.list(path);
        if (bytes === undefined) return undefined;
        check(bytes, path);
        return storeSmall(context, name, file, path, bytes);
      },
    };
  };
  return [
    {
      name: listName('versions'),
      run: () => storeVersions(context, versions),
    },
    ...versions.flatMap((version) =>
      (['extensions', 'overlays'] as const).map((what) =>
        small(what, version, `${what}.json`, officialPath(version, what), checkCatalog),
      ),
    ),
    ...talosctlVersions.map((version) => ({
      name: listName('talosctl', version),
      run: () => fetchTalosctl(context, version, wanted.talosctl),
    })),
    small('secureboot', undefined, 'signing-cert.pem', 'secureboot/signing-cert.pem', checkPem),
    small('cosign', undefined, 'signing-key.pub', 'oci/cosign/signing-key.pub', checkPem),
  ];
}

/** Names of what listTasks makes. */
export function listNames({ versions, talosctlVersions }: WantedLists): readonly string[] {
  return [
    listName('versions'),
    ...versions.flatMap((version) => [listName('extensions', version), listName('overlays', version)]),
    ...talosctlVersions.map((version) => listName('talosctl', version)),
    listName('secureboot'),
    listName('cosign'),
  ];
}

/** Name under which the store knows a list. */
export function listName(list: ListName, version?: string): string {
  return artifactName({ kind: 'list', list, ...(version === undefined ? {} : { version }) });
}

async function storeSmall(
  context: FactoryContext,
  name: string,
  file: string,
  path: string,
  bytes: Uint8Array,
): Promise<LockedItem> {
  const mediaType =
    file.endsWith('.json') || file === versionsPath ? 'application/json' : MediaType.octetStream;
  const descriptor = descriptorOf(mediaType, bytes);
  await context.layout.push(descriptor, openerOf(bytes));
  return store(context, name, `${context.factory.base}/${path}`, [{ name: file, descriptor }]);
}

/** The versions that are carried: whoever reads the list inside must not be offered others. @throws as offeredVersions */
async function storeVersions(context: FactoryContext, versions: readonly string[]): Promise<LockedItem> {
  const offered = await offeredVersions(context.factory, versions);
  const bytes = Buffer.from(`${JSON.stringify(offered)}\n`);
  return storeSmall(context, listName('versions'), versionsPath, versionsPath, bytes);
}

/** Every Talos version that the factory builds, pre-releases included, in its own order. @throws UPSTREAM */
export async function allVersions(factory: FactoryClient): Promise<readonly string[]> {
  return stringList(await factory.get(versionsPath, maxListBytes), versionsPath);
}

/**
 * Those of the versions that are wanted, in the factory's order.
 * @throws NOT_FOUND naming a version that the factory does not have
 */
export async function offeredVersions(
  factory: FactoryClient,
  wanted: readonly string[],
): Promise<readonly string[]> {
  const offered = await allVersions(factory);
  const missing = wanted.filter((version) => !offered.includes(version));
  if (missing.length === 0) return offered.filter((version) => wanted.includes(version));
  const newest = (version: string): string | undefined => {
    const { major, minor } = parseVersion(version);
    const ofMinor = offered.filter((one) => isVersion(one) && one.startsWith(`v${major}.${minor}.`));
    return ofMinor.sort(compareVersions).at(-1);
  };
  const said = missing.map((version) => {
    const near = newest(version);
    return near === undefined ? version : `${version} (its newest of that minor is ${near})`;
  });
  throw new CodedError(
    'NOT_FOUND',
    `${versionsPath}: ${publicFactoryHost} does not offer Talos ${said.join(', ')}`,
  );
}

async function fetchTalosctl(
  context: FactoryContext,
  version: string,
  wanted: WantedLists['talosctl'],
): Promise<LockedItem | undefined> {
  const { factory, layout, lock } = context;
  const name = listName('talosctl', version);
  const before = lock?.items.find((item) => item.name === name);
  const pinned = before?.files ?? [];
  // A choice that is here needs no question.
  const isKept = before !== undefined && isChosen(pinned, wanted) && !context.repins.concern(name);
  if (isKept && (await isWhole(layout, before.descriptor))) {
    for (const file of pinned) await requireRight(layout, name, file);
    return before;
  }
  const names = await offeredTalosctl(factory, version, wanted);
  if (names === undefined) return undefined;
  const files = await Promise.all(
    names.map((file) =>
      fetchFile(context, {
        item: name,
        name: file,
        path: talosctlPath(version, file),
        version,
        known: pinned.find((one) => one.name === file),
      }),
    ),
  );
  const titled = files.map((file) => ({ name: file.name, descriptor: descriptorOfFile(file) }));
  return { ...(await store(context, name, `${factory.base}/${talosctlListPath(version)}`, titled)), files };
}

/** Whether files are exactly the wanted talosctl; false for all of them, which only the factory knows. */
export function isChosen(files: readonly LockedFile[], wanted: WantedLists['talosctl']): boolean {
  return (
    wanted !== 'all' &&
    files.length === wanted.length &&
    wanted.every((system) => files.some((file) => isFor(file.name, system)))
  );
}

/**
 * The names of the wanted talosctl binaries of a version.
 * @returns undefined when the factory has none of the version
 * @throws CONFIG for a system that it is not made for; UPSTREAM for a list that names no talosctl
 */
export async function offeredTalosctl(
  factory: FactoryClient,
  version: string,
  wanted: WantedLists['talosctl'],
): Promise<readonly string[] | undefined> {
  const path = talosctlListPath(version);
  const list = await factory.getOffered(path, maxListBytes);
  if (list === undefined) return undefined;
  const offered = stringList(list, path)
    .map((url) => url.slice(url.lastIndexOf('/') + 1))
    .filter(isTalosctlName);
  return wanted === 'all' ? offered : wanted.map((system) => binaryFor(offered, system, version));
}

function talosctlListPath(version: string): string {
  return `talosctl/${version}`;
}

function isFor(file: string, system: string): boolean {
  return file === `talosctl-${system}` || file === `talosctl-${system}.exe`;
}

function binaryFor(offered: readonly string[], system: string, version: string): string {
  const file = offered.find((one) => isFor(one, system));
  if (file !== undefined) return file;
  const systems = offered.map((one) => one.replace(/^talosctl-|\.exe$/g, ''));
  if (systems.length === 0) {
    throw new CodedError('UPSTREAM', `${talosctlListPath(version)}: the factory's list names no talosctl`);
  }
  throw new CodedError(
    'CONFIG',
    `talos.talosctl: ${version} has none for ${system}; there are ${systems.join(', ')}`,
  );
}

async function store(
  context: FactoryContext,
  name: string,
  source: string,
  files: readonly TitledFile[],
): Promise<LockedItem> {
  const descriptor = await storeArtifact(context.layout, fileArtifact(catalogArtifactType, files), name);
  return {
    name,
    kind: 'catalog',
    descriptor: plain(descriptor),
    bytes: files.reduce((sum, file) => sum + file.descriptor.size, 0),
    source,
    fetchedAt: new Date().toISOString(),
  };
}

function stringList(bytes: Uint8Array, what: string): readonly string[] {
  const value = jsonOf(bytes, what);
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value;
  throw new CodedError('UPSTREAM', `${what}: the factory's answer is not a list of names`);
}

const checkCatalog: ListCheck = (bytes, path) => void catalogNames(bytes, path);

function checkPem(bytes: Uint8Array, path: string): void {
  if (/^-----BEGIN [A-Z ]+-----\r?\n/.test(Buffer.from(bytes).toString('latin1'))) return;
  throw new CodedError('UPSTREAM', `${path}: the factory's answer is not PEM`);
}
