/** What a mirror.yaml asks for, one entry for each thing to fetch, and the hosts that it takes. */
import { parseReference } from '@omni-airgap/content';
import {
  egressHosts,
  extensionsCatalog,
  factorySources,
  imageFactoryImage,
  installerRepository,
  kubernetesImages,
  omniImage,
  overlaysCatalog,
  publicFactoryHost,
  talosKubernetesImages,
} from '@omni-airgap/talos';
import type { Mirror, WantedSchematic } from './mirror/mirror.ts';

export interface WantedImage {
  readonly kind: 'image';
  /** Canonical reference. */
  readonly reference: string;
  /** `linux/amd64`…; undefined: all of them. */
  readonly platforms: readonly string[] | undefined;
  /** For an image that names further images: what to take of them. */
  readonly catalog?: WantedCatalog;
}

export interface WantedCatalog {
  readonly kind: 'extensions' | 'overlays';
  readonly names: 'all' | readonly string[];
}

export interface WantedMediaSet {
  readonly schematic: WantedSchematic;
  readonly version: string;
  readonly files: readonly string[];
}

export interface Wanted {
  readonly images: readonly WantedImage[];
  readonly schematics: readonly WantedSchematic[];
  readonly media: readonly WantedMediaSet[];
}

/** @throws CONFIG for a Talos version whose images are not known */
export function wantedOf(mirror: Mirror): Wanted {
  const images = new Map<string, WantedImage>();
  const add = (
    reference: string,
    platforms: readonly string[] | undefined,
    catalog?: WantedCatalog,
  ): void => {
    const before = images.get(reference);
    // Wanted whole somewhere means carried whole.
    const both = before === undefined ? platforms : before.platforms === undefined ? undefined : platforms;
    const kept = catalog ?? before?.catalog;
    images.set(reference, {
      kind: 'image',
      reference,
      platforms: both,
      ...(kept === undefined ? {} : { catalog: kept }),
    });
  };
  const { omni, talos, kubernetes, platforms } = mirror;
  if (omni !== undefined) add(omniImage(omni.version), undefined);
  if (talos?.imageFactory !== undefined) {
    const { version, extensions, overlays } = talos.imageFactory;
    add(imageFactoryImage(version), undefined);
    for (const talosVersion of talos.versions) {
      // Both architectures always: the factory builds every installer for both, whatever was asked.
      for (const reference of factorySources(talosVersion)) add(reference, undefined);
      add(extensionsCatalog(talosVersion), undefined, { kind: 'extensions', names: extensions });
      add(overlaysCatalog(talosVersion), undefined, { kind: 'overlays', names: overlays });
    }
  }
  for (const version of kubernetes?.versions ?? []) {
    for (const reference of kubernetesImages(version)) add(reference, platforms);
  }
  for (const version of kubernetes === undefined ? [] : (talos?.versions ?? [])) {
    for (const reference of talosKubernetesImages(version)) add(reference, platforms);
  }
  for (const reference of mirror.images) add(reference, platforms);
  const schematics = new Map<string, WantedSchematic>();
  const media: WantedMediaSet[] = [];
  for (const { schematic, versions, files, installers } of mirror.media) {
    schematics.set(schematic.id, schematic);
    for (const version of versions) {
      if (files.length > 0) media.push({ schematic, version, files });
      for (const platform of installers) {
        const secureboot = platform.endsWith('-secureboot');
        const repository = installerRepository({
          platform: platform.replace(/-secureboot$/, ''),
          secureboot,
        });
        add(`${publicFactoryHost}/${repository}/${schematic.id}:${version}`, undefined);
      }
    }
  }
  return { images: [...images.values()], schematics: [...schematics.values()], media };
}

/** Patterns of the hosts that may be reached for it, and why. */
export function hostsOf(wanted: Wanted): ReturnType<typeof egressHosts> {
  const registries = new Set(wanted.images.map((image) => parseReference(image.reference).registry));
  const factory =
    wanted.media.length > 0 || wanted.schematics.length > 0 || registries.delete(publicFactoryHost);
  const ghcr = registries.delete('ghcr.io');
  return egressHosts({ ghcr, factory, registries: [...registries] });
}
