/**
 * mirror.yaml: what a site wants carried. Read once, completely checked, turned into plain data; everything that
 * can be wrong with it is said here, before any request.
 */

import { dirname, resolve } from 'node:path';
import { CodedError, messageOf, printable, recoded } from '@omni-airgap/oci/base';
import { readInput, textOf } from '@omni-airgap/oci/fs';
import {
  checkKubernetesList,
  findSecrets,
  type InsideFacts,
  isVersion,
  parseYamlFile,
  TalosError,
  talosKubernetesImages,
  vPrefixed,
  type YamlFile,
} from '@omni-airgap/talos';
import {
  hideDashes,
  type ImageOf,
  maxImageListBytes,
  parseImageList,
  readImages,
  showDashes,
} from './image-list.ts';
import { checkShape, type RawMirror } from './schema.ts';
import { readSchematic, type WantedSchematic } from './schematic.ts';
import {
  factoryList,
  fits,
  kubernetesList,
  omniList,
  talosList,
  type VersionRange,
} from './version-range.ts';

/** What Omni lists to know which Kubernetes versions there are. */
const kubeletPattern = /^ghcr\.io\/siderolabs\/kubelet(?::|$)/;
/** Of a talosctl, when mirror.yaml asks for media and says nothing of it. */
const defaultTalosctl: readonly string[] = ['linux-amd64'];
export const maxMirrorBytes: number = 1024 * 1024;

interface MediaOf<V> {
  /** FILE:LINE:COLUMN of the schematic, for messages. */
  readonly place: string;
  readonly schematic: WantedSchematic;
  readonly versions: readonly V[];
  readonly files: readonly string[];
  /** `metal`, `metal-secureboot`: platforms whose installer image is wanted. */
  readonly installers: readonly string[];
}

interface KubernetesOf<V> {
  readonly versions: readonly V[];
  /** References by Talos version, in place of those of the table; canonical. */
  readonly images: ReadonlyMap<string, readonly string[]>;
}

/** Versions have their leading `v`, lists name nothing twice. */
interface MirrorOf<V> {
  readonly omni?: { readonly versions: readonly V[] } | undefined;
  readonly talos?: {
    readonly versions: readonly V[];
    readonly imageFactory?: {
      readonly version: V;
      readonly extensions: 'all' | readonly string[];
      readonly overlays: 'all' | readonly string[];
    };
  };
  /** Systems such as `linux-amd64` whose talosctl comes along with media. */
  readonly talosctl: 'all' | readonly string[];
  readonly media: readonly MediaOf<V>[];
  readonly kubernetes?: KubernetesOf<V> | undefined;
  readonly images: readonly ImageOf<V>[];
  /** In their normal form; undefined for all. */
  readonly platforms?: readonly string[] | undefined;
  /** What it says of the site. */
  readonly inside?: InsideFacts | undefined;
}

/** A mirror.yaml as it is written: some versions are upstream's to say. */
export type WrittenMirror = MirrorOf<string | VersionRange>;

/** A mirror.yaml of which every version is known. */
export interface Mirror extends MirrorOf<string> {
  /** The lists that upstream's part of it was chosen from: the hosts of `fetch --update`. */
  readonly lists: readonly string[];
}

/**
 * Reads and checks a mirror.yaml, and the files it names (relative to itself; `-` is standard input).
 * @throws CONFIG with file, line and column; NO_INPUT when there is no such file
 */
export async function readMirror(path: string): Promise<WrittenMirror> {
  const bytes = await readInput('--config', path, maxMirrorBytes);
  if (bytes === undefined) {
    throw new CodedError('NO_INPUT', `${path}: not found; omni-airgap init writes one to start from`);
  }
  return parseMirror(textOf(bytes, path), path);
}

/** Like readMirror, from text. @param stdin where `{file: -}` is read from */
export async function parseMirror(
  text: string,
  path: string,
  stdin: AsyncIterable<Uint8Array> = process.stdin,
): Promise<WrittenMirror> {
  try {
    return await mirrorFrom(text, path, stdin);
  } catch (error) {
    throw recoded(error, TalosError, 'CONFIG');
  }
}

async function mirrorFrom(
  text: string,
  path: string,
  stdin: AsyncIterable<Uint8Array>,
): Promise<WrittenMirror> {
  const parsed = parseYamlFile(hideDashes(text), path);
  const textAt: YamlFile['textOf'] = (at) => {
    const hidden = parsed.textOf(at);
    return hidden === undefined ? undefined : showDashes(hidden);
  };
  const source: YamlFile = { ...parsed, textOf: textAt };
  const raw = checkShape(source);
  const { platforms, inside } = raw;
  const folder = dirname(path);
  const omni = readOmni(raw.omni, source);
  const talos = raw.talos && {
    versions: versionsAt(raw.talos.versions, talosList, ['talos', 'versions'], source),
    ...imageFactoryOf(raw.talos.imageFactory, source),
  };
  const kubernetes = await readKubernetes(raw.kubernetes, talos?.versions, folder, source);
  const media: MediaOf<string | VersionRange>[] = [];
  for (const [i, wanted] of raw.media.entries()) {
    const own = wanted.versions && versionsAt(wanted.versions, talosList, ['media', i, 'versions'], source);
    const versions = own ?? talos?.versions;
    if (versions === undefined)
      throw source.error(
        ['media', i],
        `media[${i}] needs versions, here or under talos, such as versions: [v1.13.9]`,
      );
    if (wanted.files.length + wanted.installers.length === 0) {
      throw source.error(
        ['media', i],
        `media[${i}] names neither files nor installers, such as files: [metal-amd64.iso]`,
      );
    }
    const at = ['media', i, 'schematic'];
    const schematic = await readSchematic(wanted.schematic, folder, source, at);
    const { files, installers } = wanted;
    media.push({ place: source.placeOf(at), schematic, versions, files, installers });
  }
  const images = await readImages(raw.images, folder, source, stdin);
  const hasKubelet =
    kubernetes !== undefined || images.some(({ reference }) => kubeletPattern.test(reference));
  if (omni !== undefined && !hasKubelet) {
    throw source.error(
      ['omni'],
      'omni without kubernetes: Omni shows no versions unless the registry has kubelet images; add kubernetes: {versions: [v1.36.1]}',
    );
  }
  if (!omni && !talos?.imageFactory && !kubernetes && media.length === 0 && images.length === 0) {
    throw source.error([], 'asks for nothing; name omni, talos.imageFactory, media, kubernetes or images');
  }
  return {
    omni,
    ...(talos === undefined ? {} : { talos }),
    talosctl: raw.talos?.talosctl ?? defaultTalosctl,
    media,
    kubernetes,
    images,
    platforms,
    inside,
  };
}

/** @param list where upstream lists what there is; @param at where the list of versions stands in mirror.yaml */
function versionsAt(
  texts: readonly string[],
  list: string,
  at: readonly (string | number)[],
  source: YamlFile,
): readonly (string | VersionRange)[] {
  return texts.map((text, i) => versionAt(text, list, [...at, i], source));
}

function versionAt(
  text: string,
  list: string,
  at: readonly (string | number)[],
  source: YamlFile,
): string | VersionRange {
  return isVersion(text) ? text : { list, range: text, newest: 1, place: source.placeOf(at) };
}

function readOmni(raw: RawMirror['omni'], source: YamlFile): WrittenMirror['omni'] {
  if (raw === undefined) return undefined;
  const { version, versions } = raw;
  if (version !== undefined && versions !== undefined) {
    throw source.error(['omni', 'version'], 'omni has both version and versions; keep one of them');
  }
  if (version !== undefined) return { versions: [versionAt(version, omniList, ['omni', 'version'], source)] };
  if (versions !== undefined)
    return { versions: versionsAt(versions, omniList, ['omni', 'versions'], source) };
  throw source.error(
    ['omni'],
    'omni.version is missing; write version: v1.10.4, or several as versions: […]',
  );
}

type RawFactory = NonNullable<RawMirror['talos']>['imageFactory'];

function imageFactoryOf(
  raw: RawFactory,
  source: YamlFile,
): Pick<NonNullable<WrittenMirror['talos']>, 'imageFactory'> {
  if (raw === undefined) return {};
  const at = ['talos', 'imageFactory', 'version'];
  return { imageFactory: { ...raw, version: versionAt(raw.version, factoryList, at, source) } };
}

/** What a Kubernetes cluster is made of follows from both versions. @throws BAD_YAML, CONFIG */
async function readKubernetes(
  raw: RawMirror['kubernetes'],
  talos: readonly (string | VersionRange)[] | undefined,
  folder: string,
  source: YamlFile,
): Promise<WrittenMirror['kubernetes']> {
  if (raw === undefined) return undefined;
  if (talos === undefined) {
    throw source.error(
      ['kubernetes'],
      'kubernetes needs talos: {versions: […]}: etcd, coredns and others follow from the Talos version',
    );
  }
  const images = new Map<string, readonly string[]>();
  for (const [key, file] of Object.entries(raw.images)) {
    const at = ['kubernetes', 'images', key];
    if (!isVersion(key)) throw source.error(at, `${printable(key)} is no version; write it like v1.14.0`);
    const version = vPrefixed(key);
    const isListed = talos.some((one) => (typeof one === 'string' ? one === version : fits(version, one)));
    if (!isListed) throw source.error(at, `${version} is not in talos.versions`);
    if (images.has(version)) throw source.error(at, `${version} is given twice`);
    images.set(version, await readKubernetesList(version, file, folder, source, at));
  }
  for (const [i, version] of talos.entries()) {
    if (typeof version !== 'string' || images.has(version)) continue;
    try {
      talosKubernetesImages(version);
    } catch (cause) {
      throw source.error(['talos', 'versions', i], messageOf(cause));
    }
  }
  return { versions: versionsAt(raw.versions, kubernetesList, ['kubernetes', 'versions'], source), images };
}

async function readKubernetesList(
  version: string,
  file: string,
  folder: string,
  source: YamlFile,
  at: readonly string[],
): Promise<readonly string[]> {
  const path = resolve(folder, file);
  const bytes = await readInput('kubernetes.images', path, maxImageListBytes);
  if (bytes === undefined) throw source.error(at, `${printable(file)}: no such file`);
  const references = parseImageList(textOf(bytes, path), path);
  try {
    checkKubernetesList(version, references);
  } catch (cause) {
    throw source.error(at, `${printable(file)} ${messageOf(cause)}`);
  }
  return references;
}

/** @throws SECRET naming where, never what */
export function refuseSecrets(mirror: Pick<WrittenMirror, 'media'>): void {
  for (const { place, schematic } of mirror.media) {
    if (schematic.kind !== 'text') continue;
    const [found] = findSecrets(schematic.schematic);
    if (found === undefined) continue;
    throw new CodedError(
      'SECRET',
      `${place}: ${found.where} holds ${found.what}; it would go to the public Image Factory, which logs it; remove it, or pass --allow-secrets`,
    );
  }
}
