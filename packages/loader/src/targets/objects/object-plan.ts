/**
 * What of a bundle goes into an object store, under which keys: Talos media, talosctl and schematics under the Image
 * Factory's URL paths, so that any static web server in front gives them to people, PXE and imaging.
 */

import type { BundleRoot } from '@omni-airgap/format';
import type { ObjectSink } from '@omni-airgap/objects';
import type { Fetcher, Presence } from '@omni-airgap/oci';
import { byText, CodedError, printable, recoded } from '@omni-airgap/oci/base';
import {
  Annotation,
  collectVerified,
  type Descriptor,
  descriptorOf,
  digestFromHex,
  fetchManifest,
  type ImageManifest,
} from '@omni-airgap/oci/model';
import {
  type Artifact,
  artifactPath,
  contentTypeOf,
  formatBootTarget,
  imagePath,
  parseMediaName,
  pxePath,
  pxeScript,
  schematicPath,
  signatureSuffix,
  TalosError,
  versionsPath,
} from '@omni-airgap/talos';
import { artifactOf } from '../names.ts';
import { maxVersionListBytes, parseVersionList } from '../version-list.ts';

/** An object by where its content is in the bundle, or by the bytes made for it. */
export interface PlannedObject {
  readonly key: string;
  /** Name in the bundle that it belongs to. */
  readonly name: string;
  readonly descriptor: Descriptor;
  readonly contentType: string;
  readonly fileName?: string;
  /** Undefined: the descriptor's content in the bundle. */
  readonly bytes?: Uint8Array;
  /** Small lists and scripts: they come when everything they speak of is there. */
  readonly isDocument: boolean;
  /** United with what is there, never replacing it. */
  readonly isVersionList: boolean;
  /** For content that no bundle carries: where it is now; its own key, when nothing is to be done. */
  readonly from?: string;
}

/** An object store that is loaded into, and what goes there. */
export interface OpenStore {
  readonly sink: ObjectSink;
  readonly objects: readonly PlannedObject[];
  /** Keys of all files of the bundle, those that are left out too. */
  readonly files: readonly string[];
}

type UnnamedObject = Omit<PlannedObject, 'name'>;

/**
 * Whether a list or script speaks of a file, so that it waits for it: boot scripts of their kernel and initramfs, catalogs
 * of their version, the list of versions of all.
 */
export function speaksOf(document: PlannedObject, key: string): boolean {
  const [kind, first = '', second = ''] = document.key.split('/');
  if (document.isVersionList) return true;
  if (kind === 'pxe') return key.startsWith(`image/${first}/${second}/`);
  return kind === 'version' && key.split('/').includes(first);
}

/** Kernel command lines have some hundred bytes. */
const maxCmdlineBytes = 64 * 1024;

/** A name of a bundle, and what it stands for. */
export type NamedRoot = Pick<BundleRoot, 'name' | 'descriptor'>;

/**
 * @param roots names of the bundle
 * @param pxeUrl URL that PXE clients reach the object store under; without it no scripts are made
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT
 */
export async function planObjects(
  source: Fetcher & Presence,
  roots: readonly NamedRoot[],
  pxeUrl: string | undefined,
): Promise<readonly PlannedObject[]> {
  const plan = new ObjectPlan(source);
  for (const root of roots) await plan.add(root, pxeUrl);
  return plan.objects();
}

/** What the artifacts of a bundle become in an object store. Each is judged before anything of it counts. */
export class ObjectPlan {
  readonly #source: Fetcher & Presence;
  readonly #planned = new Map<string, PlannedObject>();

  constructor(source: Fetcher & Presence) {
    this.#source = source;
  }

  /** In the order of their keys. */
  objects(): readonly PlannedObject[] {
    return [...this.#planned.values()].sort((a, b) => byText(a.key, b.key));
  }

  /**
   * Takes in what fetch made an artifact of; nothing of any other name.
   * @throws BAD_DOCUMENT for an artifact that is not what its name says; DIGEST_MISMATCH, MISSING_CONTENT
   */
  async add({ name, descriptor }: NamedRoot, pxeUrl?: string): Promise<void> {
    const what = printable(name);
    try {
      const artifact = artifactOf(name);
      // An increment without a registry: what its base brought is in the store since then.
      if (artifact === undefined || !(await this.#source.has(descriptor))) return;
      const { manifest } = await fetchManifest(this.#source, descriptor);
      if (manifest.kind !== 'image') throw bad(`${what}: an artifact was expected`);
      const objects = await this.#objectsOf(artifact, manifest, what);
      for (const object of objects) this.#requireOne(object);
      if (pxeUrl !== undefined && artifact.kind === 'media') {
        const { schematic, version } = artifact;
        objects.push(
          ...(await pxeObjects(this.#source, pxeUrl, schematic, version, filesOf(manifest, what))),
        );
      }
      for (const object of objects) this.#planned.set(object.key, { ...object, name });
    } catch (error) {
      throw recoded(error, TalosError, 'BAD_DOCUMENT', `${what}: `);
    }
  }

  async #objectsOf(artifact: Artifact, manifest: ImageManifest, what: string): Promise<UnnamedObject[]> {
    if (artifact.kind === 'schematic') return [schematicObject(artifact.id, manifest, what)];
    const objects: UnnamedObject[] = [];
    for (const [title, descriptor] of filesOf(manifest, what)) {
      const key = artifactPath(artifact, title);
      if (key === undefined) continue;
      const isFile = artifact.kind === 'media' || artifact.list === 'talosctl';
      const isVersionList = key === versionsPath;
      if (artifact.kind === 'media') checkCmdlineSize(title, descriptor, what);
      if (isVersionList) await this.#checkVersions(descriptor, what);
      objects.push({
        key,
        descriptor,
        contentType: isFile
          ? contentTypeOf(title)
          : title.endsWith('.json') || isVersionList
            ? 'application/json'
            : 'application/x-pem-file',
        ...(isFile ? { fileName: title } : {}),
        isDocument: !isFile,
        isVersionList,
      });
    }
    return objects;
  }

  /** The list is united with that of the site at the end of a load, when it is too late to refuse it. */
  async #checkVersions(descriptor: Descriptor, what: string): Promise<void> {
    if (!(await this.#source.has(descriptor))) return;
    const list = this.#source.fetch(descriptor);
    parseVersionList(await collectVerified(list, descriptor, maxVersionListBytes, what), what);
  }

  #requireOne({ key, descriptor }: UnnamedObject): void {
    const other = this.#planned.get(key);
    if (other === undefined || other.descriptor.digest === descriptor.digest) return;
    throw bad(`${key}: two different contents in one bundle`);
  }
}

function bad(message: string): CodedError {
  return new CodedError('BAD_DOCUMENT', message);
}

/** Layers by the names of their files. @throws BAD_DOCUMENT when two have one name */
function filesOf(manifest: ImageManifest, what: string): ReadonlyMap<string, Descriptor> {
  const files = new Map<string, Descriptor>();
  for (const { mediaType, digest, size, annotations } of manifest.layers) {
    const title = annotations?.[Annotation.title];
    if (title === undefined) continue;
    if (files.has(title)) throw bad(`${what}: two files ${printable(title)}`);
    files.set(title, { mediaType, digest, size });
  }
  return files;
}

/** A boot script holds it. @throws BAD_DOCUMENT */
function checkCmdlineSize(title: string, { size }: Descriptor, what: string): void {
  if (!title.startsWith('cmdline-') || size <= maxCmdlineBytes) return;
  throw bad(`${what}: ${printable(title)}: ${size} bytes are too many for a kernel command line`);
}

/** An ID is the hash of the text: the one layer of the artifact. @throws BAD_DOCUMENT */
function schematicObject(id: string, { layers }: ImageManifest, what: string): UnnamedObject {
  const [layer, ...more] = layers;
  if (layer === undefined || more.length > 0 || layer.digest !== digestFromHex(id))
    throw bad(`${what}: its layer is not the text of that ID`);
  const { mediaType, digest, size } = layer;
  return {
    key: schematicPath(id),
    descriptor: { mediaType, digest, size },
    contentType: 'application/yaml',
    isDocument: true,
    isVersionList: false,
  };
}

/** A boot script for each kernel command line whose files are carried. */
async function pxeObjects(
  source: Fetcher,
  pxeUrl: string,
  schematic: string,
  version: string,
  files: ReadonlyMap<string, Descriptor>,
): Promise<readonly UnnamedObject[]> {
  const objects: UnnamedObject[] = [];
  const url = (file: string): string =>
    `${pxeUrl.replace(/\/+$/, '')}/${imagePath(schematic, version, file)}`;
  for (const [title, descriptor] of files) {
    if (title.endsWith(signatureSuffix)) continue;
    const media = parseMediaName(title);
    if (media.kind !== 'cmdline') continue;
    const kernel = media.secureboot ? `${formatBootTarget(media)}-uki.efi` : `kernel-${media.arch}`;
    const initramfs = media.secureboot ? undefined : `initramfs-${media.arch}.xz`;
    if (!files.has(kernel) || (initramfs !== undefined && !files.has(initramfs))) continue;
    const cmdline = await collectVerified(source.fetch(descriptor), descriptor, maxCmdlineBytes, title);
    const script = pxeScript({
      kernel: url(kernel),
      cmdline: Buffer.from(cmdline).toString('utf8'),
      ...(initramfs === undefined ? {} : { initramfs: url(initramfs) }),
    });
    const bytes = Buffer.from(script);
    objects.push({
      key: pxePath(schematic, version, media),
      descriptor: descriptorOf('text/plain', bytes),
      contentType: 'text/plain; charset=utf-8',
      bytes,
      isDocument: true,
      isVersionList: false,
    });
  }
  return objects;
}
