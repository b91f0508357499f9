/**
 * What of a bundle goes into an object store, under which keys: Talos media, talosctl and schematics under the Image
 * Factory's URL paths, so that any static web server in front gives them to people, PXE and imaging.
 */

import type { ObjectSink } from '@omni-airgap/objects';
import type { Fetcher, Presence } from '@omni-airgap/oci';
import { byText, CodedError, printable } from '@omni-airgap/oci/base';
import {
  Annotation,
  collectVerified,
  type Descriptor,
  descriptorOf,
  fetchManifest,
  parseReference,
} from '@omni-airgap/oci/model';
import {
  contentTypeOf,
  formatBootTarget,
  imagePath,
  isSchematicId,
  officialPath,
  parseMediaName,
  pxePath,
  pxeScript,
  schematicPath,
  schematicRepository,
  talosctlPath,
  versionsPath,
} from '@omni-airgap/talos';

/** An object by where its content is in the bundle, or by the bytes made for it. */
export interface PlannedObject {
  readonly key: string;
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
}

/** Kernel command lines have some hundred bytes. */
const maxCmdlineBytes = 64 * 1024;
const json = 'application/json';

/**
 * @param roots names of the bundle
 * @param pxeUrl URL that PXE clients reach the object store under; without it no scripts are made
 * @throws BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT
 */
export async function planObjects(
  source: Fetcher & Presence,
  roots: readonly { readonly name: string; readonly descriptor: Descriptor }[],
  pxeUrl: string | undefined,
): Promise<readonly PlannedObject[]> {
  const planned = new Map<string, PlannedObject>();
  const add = (object: PlannedObject): void => {
    const other = planned.get(object.key);
    if (other !== undefined && other.descriptor.digest !== object.descriptor.digest) {
      throw new CodedError('CONFLICT', `${object.key}: two different contents in one bundle`);
    }
    planned.set(object.key, object);
  };
  for (const { name, descriptor } of roots) {
    const { repository, tag = '' } = parseReference(name);
    const [folder = '', item = ''] = repository.split('/').slice(-2);
    const isSchematic = repository.endsWith(schematicRepository);
    if (!isSchematic && folder !== 'talos-media' && folder !== 'talos-catalog') continue;
    // An increment without a registry: what its base brought is in the store since then.
    if (!(await source.has(descriptor))) continue;
    const { manifest } = await fetchManifest(source, descriptor);
    if (manifest.kind !== 'image') {
      throw new CodedError('BAD_DOCUMENT', `${printable(name)}: an artifact was expected`);
    }
    const files = new Map<string, Descriptor>();
    for (const layer of manifest.layers) {
      const title = layer.annotations?.[Annotation.title];
      const { mediaType, digest, size } = layer;
      if (isSchematic) add(schematicObject(tag, { mediaType, digest, size }));
      else if (title !== undefined) files.set(title, { mediaType, digest, size });
    }
    if (folder === 'talos-catalog') for (const object of catalogObjects(item, tag, files)) add(object);
    if (folder !== 'talos-media') continue;
    for (const [title, layer] of files) add(mediaObject(item, tag, title, layer));
    if (pxeUrl === undefined) continue;
    for (const object of await pxeObjects(source, pxeUrl, item, tag, files)) add(object);
  }
  return [...planned.values()].sort((a, b) => byText(a.key, b.key));
}

function mediaObject(
  schematic: string,
  version: string,
  title: string,
  descriptor: Descriptor,
): PlannedObject {
  return {
    key: imagePath(schematic, version, title),
    descriptor,
    contentType: contentTypeOf(title),
    fileName: title,
    isDocument: false,
    isVersionList: false,
  };
}

function schematicObject(id: string, descriptor: Descriptor): PlannedObject {
  if (!isSchematicId(id)) throw new CodedError('BAD_DOCUMENT', `not a schematic ID: ${printable(id)}`);
  return {
    key: schematicPath(id),
    descriptor,
    contentType: 'application/yaml',
    isDocument: true,
    isVersionList: false,
  };
}

/** Paths by the names of catalogs, which come from the bundle: a Map, so that `constructor` is none. */
const pemFiles: ReadonlyMap<string, string> = new Map([
  ['secureboot', 'secureboot/signing-cert.pem'],
  ['cosign', 'oci/cosign/signing-key.pub'],
]);

/** What the factory tells besides builds. */
function catalogObjects(
  what: string,
  tag: string,
  files: ReadonlyMap<string, Descriptor>,
): readonly PlannedObject[] {
  return [...files].flatMap(([title, descriptor]): readonly PlannedObject[] => {
    const document = { descriptor, contentType: json, isDocument: true, isVersionList: false };
    if (what === 'versions') return [{ ...document, key: versionsPath, isVersionList: true }];
    if (what === 'extensions' || what === 'overlays') return [{ ...document, key: officialPath(tag, what) }];
    if (what === 'talosctl') {
      const key = talosctlPath(tag, title);
      return [{ ...document, key, contentType: contentTypeOf(title), fileName: title, isDocument: false }];
    }
    // The certificates and keys of the public factory are of use to whoever checks what it built.
    const path = pemFiles.get(what);
    return path === undefined ? [] : [{ ...document, key: path, contentType: 'application/x-pem-file' }];
  });
}

/** A boot script for each kernel command line whose files are carried. */
async function pxeObjects(
  source: Fetcher,
  pxeUrl: string,
  schematic: string,
  version: string,
  files: ReadonlyMap<string, Descriptor>,
): Promise<readonly PlannedObject[]> {
  const objects: PlannedObject[] = [];
  const url = (file: string): string =>
    `${pxeUrl.replace(/\/+$/, '')}/${imagePath(schematic, version, file)}`;
  for (const [title, descriptor] of files) {
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
