/**
 * The artifacts that fetch makes of what an Image Factory offers besides images: their names, and the paths at the
 * factory that their files stand for. Whoever fetches, packs, verifies or loads them judges a name here. A name of any
 * other host or form is an artifact of the operator's own, and nothing is read into it.
 */
import {
  checkedId,
  imagePath,
  officialPath,
  publicFactoryHost,
  schematicPath,
  schematicRepository,
  talosctlPath,
  versionsPath,
} from './factory.ts';
import { vPrefixed } from './version.ts';

/** The artifact type of media, a layer a file with its name as title. A registry of the site may hold others of that name. */
export const mediaArtifactType: string = 'application/vnd.omni-airgap.talos-media.v1';
/** The artifact type of lists, of the same form. */
export const catalogArtifactType: string = 'application/vnd.omni-airgap.talos-catalog.v1';

/** Lists and keys that the Image Factory offers beside builds. */
export type ListName = 'versions' | 'extensions' | 'overlays' | 'talosctl' | 'secureboot' | 'cosign';

export type Artifact =
  | { readonly kind: 'media'; readonly schematic: string; readonly version: string }
  | { readonly kind: 'schematic'; readonly id: string }
  /** `version` of Talos, for lists that each version has one of. */
  | { readonly kind: 'list'; readonly list: ListName; readonly version?: string };

/** Of lists that belong to no version. */
const currentTag = 'latest';

const versioned: Readonly<Record<ListName, boolean>> = {
  versions: false,
  extensions: true,
  overlays: true,
  talosctl: true,
  secureboot: false,
  cosign: false,
};

function isListName(text: string): text is ListName {
  return Object.hasOwn(versioned, text);
}

/** Name under which stores and bundles have it: `factory.talos.dev/talos-media/<id>:<version>`. */
export function artifactName(artifact: Artifact): string {
  switch (artifact.kind) {
    case 'media':
      return `${publicFactoryHost}/talos-media/${artifact.schematic}:${artifact.version}`;
    case 'schematic':
      return `${publicFactoryHost}/${schematicRepository}:${artifact.id}`;
    case 'list':
      return `${publicFactoryHost}/talos-catalog/${artifact.list}:${artifact.version ?? currentTag}`;
  }
}

/**
 * The artifact that a reference names.
 * @returns undefined for any other reference
 * @throws BAD_SCHEMATIC, BAD_VERSION for one of these repositories with a schematic ID or a version that is none
 */
export function parseArtifact({
  registry,
  repository,
  tag,
}: {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
}): Artifact | undefined {
  if (registry !== publicFactoryHost || tag === undefined) return undefined;
  if (repository === schematicRepository) return { kind: 'schematic', id: checkedId(tag) };
  const [folder, item = '', ...more] = repository.split('/');
  if (more.length > 0) return undefined;
  if (folder === 'talos-media') {
    return { kind: 'media', schematic: checkedId(item), version: vPrefixed(tag) };
  }
  if (folder !== 'talos-catalog' || !isListName(item)) return undefined;
  return { kind: 'list', list: item, ...(versioned[item] ? { version: vPrefixed(tag) } : {}) };
}

/**
 * Path at the factory, and key in an object store, of a file of an artifact.
 * @param file its name in the artifact; a schematic's has none
 * @returns undefined for a file that stands for no path
 * @throws BAD_MEDIA_NAME
 */
export function artifactPath(artifact: Artifact, file: string): string | undefined {
  if (artifact.kind === 'media') return imagePath(artifact.schematic, artifact.version, file);
  if (artifact.kind === 'schematic') return schematicPath(artifact.id);
  const { list, version = '' } = artifact;
  switch (list) {
    case 'talosctl':
      return talosctlPath(version, file);
    case 'versions':
      return file === versionsPath ? versionsPath : undefined;
    case 'extensions':
    case 'overlays':
      return file === `${list}.json` ? officialPath(version, list) : undefined;
    case 'secureboot':
      return file === 'signing-cert.pem' ? `secureboot/${file}` : undefined;
    case 'cosign':
      return file === 'signing-key.pub' ? `oci/cosign/${file}` : undefined;
  }
}
