/**
 * What runs at the site, and what of the brought content that keeps: each image that runs, and for each version of Talos and
 * Kubernetes the whole set, so that a node can be added, repaired and rolled back. In doubt something is kept: hosts of
 * images are not compared, since mirrors of nodes change them.
 */
import { createHash } from 'node:crypto';
import type { PruneInputs } from '@omni-airgap/format';
import { CodedError, isCoded, printable, recoded } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { type Digest, isDigest, parseReference } from '@omni-airgap/oci/model';
import {
  factorySources,
  isVersion,
  kubernetesImages,
  parseInstallerRepository,
  parseRunning,
  publicFactoryHost,
  TalosError,
  talosKubernetesImages,
  vPrefixed,
} from '@omni-airgap/talos';
import { isDigestName } from '../targets/names.ts';
import { isExtension } from '../targets/registry/sets.ts';
import type { Arrival, BroughtImage } from './inventory.ts';

/** The pods of a large cluster have some hundred megabytes. */
const maxFileBytes = 512 * 1024 * 1024;

/**
 * @param paths of --in-use: output of kubectl, talosctl or omnictl
 * @throws NO_INPUT; CONFIG for a file that does not say what runs
 */
export async function readInUse(paths: readonly string[]): Promise<PruneInputs['inUse']> {
  const files: { path: string; sha256: string }[] = [];
  const [talos, kubernetes, images] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const path of paths) {
    const bytes = await readNamedFile('--in-use', path, maxFileBytes);
    files.push({ path, sha256: createHash('sha256').update(bytes).digest('hex') });
    try {
      const running = parseRunning(bytes.toString('utf8'), `--in-use ${path}`);
      for (const version of running.talos) talos.add(version);
      for (const version of running.kubernetes) kubernetes.add(version);
      for (const image of running.images) images.add(image);
    } catch (error) {
      throw recoded(error, TalosError, 'CONFIG');
    }
  }
  return {
    files,
    talos: [...talos].sort(),
    kubernetes: [...kubernetes].sort(),
    images: [...images].sort(),
  };
}

/** @throws USAGE for a text that is no version @returns the form of tags */
export function parseKeepVersion(text: string): string {
  if (isVersion(text)) return vPrefixed(text);
  throw new CodedError('USAGE', `--keep-versions ${printable(text)}: specify versions such as v1.13.9`);
}

export class InUse {
  /** Digests of what runs: of images, of one platform of an index, or of a configuration. */
  readonly digests: ReadonlySet<Digest>;
  /** By version, for people. */
  readonly #versions = new Map<string, string>();
  /** Names of the sets of these versions. */
  readonly #members = new Map<string, string>();
  /** Versions of Talos whose images of Kubernetes nobody here knows. */
  readonly #unknown = new Set<string>();
  /** Paths of images that run, by tag. */
  readonly #paths = new Map<string, Set<string>>();

  constructor({ inUse, keepVersions }: Pick<PruneInputs, 'inUse' | 'keepVersions'>) {
    const digests = new Set<Digest>();
    for (const image of inUse.images) {
      const [path = '', digest] = image.startsWith('sha256:') ? ['', image] : image.split('@');
      if (digest !== undefined && isDigest(digest)) digests.add(digest);
      if (path !== '') this.#addPath(path);
    }
    this.digests = digests;
    for (const version of keepVersions) this.#addVersion(version, `${version} is in --keep-versions`);
    for (const version of inUse.talos) this.#addVersion(version, `Talos ${version} is in use`);
    for (const version of inUse.kubernetes) this.#addVersion(version, `Kubernetes ${version} is in use`);
  }

  /** Why a name stays, for people; undefined when nothing here needs it. */
  why({ name, repository, digest, arrivals }: Omit<BroughtImage, 'tag'>): string | undefined {
    if (this.digests.has(digest)) return 'it runs';
    if (isDigestName(name)) return undefined;
    const { registry, repository: path, tag } = parseReference(name);
    if (tag === undefined) return undefined;
    const paths = this.#paths.get(tag);
    if (
      paths !== undefined &&
      [...paths].some((one) => isPath(one, [`${registry}/${path}`, path, repository]))
    ) {
      return 'it runs';
    }
    const versioned = isVersion(tag) ? this.#versions.get(vPrefixed(tag)) : undefined;
    return versioned ?? this.#members.get(name) ?? this.#ofArrivals(name, arrivals);
  }

  /** Why an object stays. @param key such as `image/<schematic>/<version>/<file>` */
  whyKey(key: string): string | undefined {
    const version = versionOfKey(key);
    return version === undefined ? undefined : this.#versions.get(version);
  }

  /** Of extensions and overlays nobody here knows which Talos they are for: all that came with it stay. */
  #ofArrivals(name: string, arrivals: readonly Arrival[]): string | undefined {
    for (const [version, why] of this.#versions) {
      const isUnknown = this.#unknown.has(version);
      if (!isUnknown && !isExtension(name)) continue;
      const came = arrivals.some(({ records }) =>
        records.some(({ receipt }) => receipt.images.some((image) => isOfTalos(image.name, version))),
      );
      if (came) return `${why}, and it came with that`;
    }
    return undefined;
  }

  #addVersion(version: string, why: string): void {
    if (this.#versions.has(version)) return;
    this.#versions.set(version, why);
    for (const name of [...factorySources(version), ...kubernetesImages(version)])
      this.#members.set(name, why);
    try {
      for (const name of talosKubernetesImages(version)) this.#members.set(name, why);
    } catch (error) {
      if (!(error instanceof TalosError)) throw error;
      this.#unknown.add(version);
    }
  }

  /** @param path with a tag, or without for `latest` */
  #addPath(path: string): void {
    const named = path.lastIndexOf(':') > path.lastIndexOf('/') ? path : `${path}:latest`;
    let place = named.slice(0, named.lastIndexOf(':'));
    try {
      const { registry, repository } = parseReference(named);
      place = `${registry}/${repository}`;
    } catch (error) {
      // A name that containerd takes and no registry has.
      if (!isCoded(error, 'BAD_NAME')) throw error;
    }
    const tag = named.slice(named.lastIndexOf(':') + 1);
    this.#paths.set(tag, (this.#paths.get(tag) ?? new Set()).add(place));
  }
}

/** Whether what runs may be pulled from one of these paths, below any host and prefix. */
function isPath(runs: string, paths: readonly string[]): boolean {
  return paths.some((path) => runs === path || runs.endsWith(`/${path}`));
}

/** Whether a name belongs to a version of Talos and to no other. */
function isOfTalos(name: string, version: string): boolean {
  if (isDigestName(name)) return false;
  return factorySources(version).includes(name) || talosVersionOf(name) === version;
}

/**
 * The version of Talos that a name offers to machines or to a factory: of installers, media and imagers.
 * @param name in a bundle
 * @returns undefined for all others
 */
export function talosVersionOf(name: string): string | undefined {
  if (isDigestName(name)) return undefined;
  const { registry, repository, tag } = parseReference(name);
  if (tag === undefined || !isVersion(tag)) return undefined;
  const [first = ''] = repository.split('/');
  const isBuild =
    registry === publicFactoryHost &&
    (first === 'talos-media' || parseInstallerRepository(first) !== undefined);
  const isImager = factorySources(tag)[0] === name;
  return isBuild || isImager ? vPrefixed(tag) : undefined;
}

/** The version of Talos that an object is of; undefined for the list of versions, for keys and schematics. */
export function versionOfKey(key: string): string | undefined {
  const [kind = '', first = '', second = ''] = key.split('/');
  const version =
    kind === 'image' || kind === 'pxe' ? second : kind === 'version' || kind === 'talosctl' ? first : '';
  return isVersion(version) ? vPrefixed(version) : undefined;
}
