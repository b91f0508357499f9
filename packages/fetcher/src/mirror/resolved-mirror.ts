/** What a mirror.yaml asks for, one entry for each thing to fetch, and the hosts that it takes. */
import { parseReference } from '@omni-airgap/oci/model';
import {
  compareVersions,
  type EgressHost,
  egressHosts,
  extensionsCatalog,
  factorySources,
  firstTalosctlVersion,
  imageFactoryImage,
  installerRepository,
  isFromMinor,
  kubernetesImages,
  omniImage,
  overlaysCatalog,
  publicFactoryHost,
  talosKubernetesImages,
} from '@omni-airgap/talos';
import type { Mirror } from './mirror.ts';
import type { WantedSchematic } from './schematic.ts';
import { hostOfList } from './version-range.ts';

export interface WantedImage {
  /** Canonical reference. */
  readonly reference: string;
  /** `linux/amd64`…; undefined: all of them. */
  readonly platforms: readonly string[] | undefined;
  /** For an image that names further images: what to take of them. */
  readonly catalog?: WantedCatalog | undefined;
  /** What of mirror.yaml it follows from, such as `kubernetes.versions v1.36.1`; undefined where it stands there itself. */
  readonly from?: string | undefined;
}

export interface WantedCatalog {
  readonly kind: 'extensions' | 'overlays';
  readonly names: 'all' | readonly string[];
}

export interface WantedMediaSet {
  readonly version: string;
  readonly files: readonly string[];
}

/** What the Image Factory builds for one schematic. */
export interface WantedBuilds {
  readonly schematic: WantedSchematic;
  /** FILE:LINE:COLUMN of the schematic, for messages. */
  readonly place: string;
  readonly media: readonly WantedMediaSet[];
  readonly installers: readonly { readonly repository: string; readonly version: string }[];
}

/** What the Image Factory knows about Talos versions, for those who ask inside. */
export interface WantedLists {
  /** Talos versions of all media, oldest first. */
  readonly versions: readonly string[];
  /** Of `versions`, those that have a talosctl. */
  readonly talosctlVersions: readonly string[];
  readonly talosctl: 'all' | readonly string[];
}

export interface ResolvedMirror {
  readonly images: readonly WantedImage[];
  readonly builds: readonly WantedBuilds[];
  /** Undefined when nothing comes from the Image Factory. */
  readonly lists: WantedLists | undefined;
  /** What is asked besides, to choose versions: as in Mirror. */
  readonly versionLists: readonly string[];
}

/** @throws CONFIG for a Talos version whose images are not known */
export function resolveMirror(mirror: Mirror): ResolvedMirror {
  const builds = buildsOf(mirror);
  const versions = [...new Set(mirror.media.flatMap((media) => media.versions))].sort(compareVersions);
  return {
    images: imagesOf(mirror),
    builds,
    lists:
      builds.length === 0
        ? undefined
        : {
            versions,
            talosctlVersions:
              mirror.talosctl.length === 0
                ? []
                : versions.filter((version) => compareVersions(version, firstTalosctlVersion) >= 0),
            talosctl: mirror.talosctl,
          },
    versionLists: mirror.lists,
  };
}

function imagesOf({ omni, talos, kubernetes, platforms, images: named }: Mirror): readonly WantedImage[] {
  const images = new Map<string, WantedImage>();
  const add = (
    reference: string,
    platforms: readonly string[] | undefined,
    from?: string,
    catalog?: WantedCatalog,
  ): void => {
    const before = images.get(reference);
    // Wanted whole somewhere means carried whole; wanted in parts, all of them.
    const both =
      before === undefined
        ? platforms
        : before.platforms === undefined || platforms === undefined
          ? undefined
          : [...new Set([...before.platforms, ...platforms])];
    const kept = catalog ?? before?.catalog;
    images.set(reference, {
      reference,
      platforms: both,
      catalog: kept,
      from,
    });
  };
  for (const version of omni?.versions ?? []) add(omniImage(version), undefined, `omni.version ${version}`);
  if (talos?.imageFactory !== undefined) {
    const { version, extensions, overlays } = talos.imageFactory;
    add(imageFactoryImage(version), undefined, `talos.imageFactory.version ${version}`);
    for (const talosVersion of talos.versions) {
      // Both architectures always: the factory builds every installer for both, whatever was asked.
      const from = `talos.versions ${talosVersion}`;
      for (const reference of factorySources(talosVersion)) add(reference, undefined, from);
      add(extensionsCatalog(talosVersion), undefined, from, { kind: 'extensions', names: extensions });
      add(overlaysCatalog(talosVersion), undefined, from, { kind: 'overlays', names: overlays });
    }
  }
  for (const version of kubernetes?.versions ?? []) {
    for (const reference of kubernetesImages(version))
      add(reference, platforms, `kubernetes.versions ${version}`);
  }
  for (const version of kubernetes === undefined ? [] : (talos?.versions ?? [])) {
    const listed = kubernetes?.images.get(version) ?? talosKubernetesImages(version);
    for (const reference of listed) add(reference, platforms, `talos.versions ${version}`);
  }
  for (const image of named) add(image.reference, image.platforms ?? platforms);
  return [...images.values()];
}

/** Entries that share a schematic are one: its files of a version become one artifact. */
function buildsOf({ media }: Mirror): readonly WantedBuilds[] {
  const builds = new Map<
    string,
    {
      readonly schematic: WantedSchematic;
      readonly place: string;
      readonly files: Map<string, Set<string>>;
      readonly installers: Map<string, { readonly repository: string; readonly version: string }>;
    }
  >();
  for (const { schematic, place, versions, files, installers } of media) {
    const build = builds.get(schematic.id) ?? { schematic, place, files: new Map(), installers: new Map() };
    // One that is known by its text can also be made known to the factory.
    builds.set(schematic.id, schematic.kind === 'text' ? { ...build, schematic } : build);
    for (const version of versions) {
      const set = build.files.get(version) ?? new Set();
      if (files.length > 0) build.files.set(version, set);
      for (const file of files) set.add(file);
      for (const name of installers) {
        const secureboot = name.endsWith('-secureboot');
        const platform = name.replace(/-secureboot$/, '');
        const repositories = [installerRepository({ platform, secureboot })];
        // Below 1.10 Omni and machines ask for it without the platform, and a plain registry knows no other name.
        // Source: siderolabs/omni internal/backend/installimage.
        if (platform === 'metal' && !isFromMinor(version, 10))
          repositories.push(installerRepository({ secureboot }));
        for (const repository of repositories)
          build.installers.set(`${repository} ${version}`, { repository, version });
      }
    }
  }
  return [...builds.values()].map(({ schematic, place, files, installers }) => ({
    schematic,
    place,
    media: [...files].map(([version, set]) => ({ version, files: [...set] })),
    installers: [...installers.values()],
  }));
}

/** Patterns of the hosts that may be reached for it, and why. */
export function hostsOf(wanted: ResolvedMirror): readonly EgressHost[] {
  const registries = new Set([
    ...wanted.images.map((image) => parseReference(image.reference).registry),
    ...wanted.versionLists.map(hostOfList),
  ]);
  const factory = registries.delete(publicFactoryHost) || wanted.builds.length > 0;
  const ghcr = registries.delete('ghcr.io');
  return egressHosts({ ghcr, factory, registries: [...registries] });
}
