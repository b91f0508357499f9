/**
 * Names that advertise others: Omni offers each Kubernetes version of which it finds a kubelet, an Image Factory each Talos
 * version of which it finds an imager, and the extensions that a catalog lists. Such a name comes after all that it
 * advertises, and not at all while some of that is missing: whoever sees it would order what fails.
 * Sources: siderolabs/omni lists the tags of the kubelet's repository; siderolabs/image-factory
 * internal/artifacts/versions.go lists those of the imager's, and reads the two catalogs.
 */
import { parseReference } from '@omni-airgap/oci/model';
import {
  extensionsCatalog,
  factorySources,
  imageFactoryImage,
  isVersion,
  kubernetesImages,
  omniImage,
  overlaysCatalog,
  publicFactoryHost,
  sideroPrefix,
  talosKubernetesImages,
} from '@omni-airgap/talos';
import { isDigestName } from '../names.ts';

/** A name that advertises others, all by their names in the bundle. */
export interface AdvertisedSet {
  readonly name: string;
  /** For people: `Kubernetes v1.36.1`. */
  readonly what: string;
  readonly members: readonly string[];
}

/**
 * Sets in the order in which their names are published: each after those that it has as members.
 * @param all names of the bundle
 */
export function advertisedSets(all: readonly string[]): readonly AdvertisedSet[] {
  const names = all.filter((name) => !isDigestName(name));
  const carried = new Set(names);
  const catalogs: Omit<AdvertisedSet, 'members'>[] = [];
  const versions: AdvertisedSet[] = [];
  const lists: AdvertisedSet[] = [];
  for (const name of names) {
    const { registry, repository, tag = '' } = parseReference(name);
    const path = `${registry}/${repository}`;
    if (path === `${publicFactoryHost}/talos-catalog/versions`) {
      const members = names.filter((one) => one !== name && isOfTalos(one));
      lists.push({ name, what: 'the list of Talos versions', members });
    }
    if (!isVersion(tag)) continue;
    if (path === `${sideroPrefix}kubelet`) {
      versions.push({ name, what: `Kubernetes ${tag}`, members: kubernetesImages(tag) });
    } else if (path === `${sideroPrefix}imager`) {
      versions.push({ name, what: `Talos ${tag}`, members: [...factorySources(tag), ...clusterImages(tag)] });
    } else if (isCatalog(name)) {
      // Which of them are for which version of Talos is not looked up: one that is missing counts for all.
      catalogs.push({ name, what: `the catalog ${name}` });
    }
  }
  const ofVersions = new Set(versions.flatMap(({ members }) => members));
  const extensions = names.filter((name) => !ofVersions.has(name) && isExtension(name));
  const sets = [...catalogs.map((set) => ({ ...set, members: extensions })), ...versions, ...lists];
  return sets.map((set) => ({
    ...set,
    members: set.members.filter((one) => one !== set.name && carried.has(one)),
  }));
}

/** Images that an Image Factory builds from: its sources, catalogs, and what a catalog may name by digest. */
export function imageFactoryImages(names: readonly string[]): ReadonlySet<string> {
  const sources = new Set([...factorySources('v1.13.0'), imageFactoryImage('v1.0.0')].map(repositoryOf));
  const own = names.filter((name) => {
    if (isDigestName(name)) return false;
    const { registry, repository } = parseReference(name);
    return registry === publicFactoryHost || sources.has(`${registry}/${repository}`);
  });
  const named = advertisedSets(names).filter(({ name }) => isCatalog(name));
  return new Set([...own, ...named.flatMap(({ members }) => members)]);
}

function isCatalog(name: string): boolean {
  const { repository, tag = '' } = parseReference(name);
  if (!isVersion(tag)) return false;
  if ([extensionsCatalog(tag), overlaysCatalog(tag)].includes(name)) return true;
  return /^talos-catalog\/(?:extensions|overlays)$/.test(repository);
}

/** Images of Sidero that belong to no version by their tag: extensions and overlays. */
export function isExtension(name: string): boolean {
  const { registry, repository, tag } = parseReference(name);
  const path = `${registry}/${repository}`;
  if (!path.startsWith(sideroPrefix) || tag === undefined || tag.startsWith('sha256-')) return false;
  const [first] = path.slice(sideroPrefix.length).split('/');
  const others = [omniImage, imageFactoryImage].map((of) => repositoryOf(of('v1.0.0')));
  const sources = factorySources('v1.13.0').map(repositoryOf);
  return first !== 'kubelet' && ![...others, ...sources].includes(path);
}

function isOfTalos(name: string): boolean {
  const { registry, repository, tag = '' } = parseReference(name);
  return (
    registry === publicFactoryHost ||
    (`${registry}/${repository}` === `${sideroPrefix}imager` && isVersion(tag))
  );
}

function repositoryOf(reference: string): string {
  return reference.slice(0, reference.lastIndexOf(':'));
}

/** None for a version that the table does not know: they were named by the operator, and are no set then. */
function clusterImages(version: string): readonly string[] {
  try {
    return talosKubernetesImages(version);
  } catch {
    return [];
  }
}
