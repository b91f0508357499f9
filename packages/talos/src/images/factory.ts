/**
 * The images that Omni and a self-hosted Image Factory are made of, by version.
 * Source: siderolabs/image-factory 78e378a48 docs/sources.md; siderolabs/talos pkg/machinery/imager/quirks.
 */
import { compareVersions, isFromMinor, vPrefixed } from '../version.ts';

const registry = 'ghcr.io/siderolabs';

/** @throws BAD_VERSION */
export function omniImage(version: string): string {
  return `${registry}/omni:${vPrefixed(version)}`;
}

/** @throws BAD_VERSION */
export function imageFactoryImage(version: string): string {
  return `${registry}/image-factory:${vPrefixed(version)}`;
}

/** The image whose file `image-digests` lists the extensions of a Talos version. @throws BAD_VERSION */
export function extensionsCatalog(talosVersion: string): string {
  return `${registry}/extensions:${vPrefixed(talosVersion)}`;
}

/** The image whose file `overlays.yaml` lists the overlays of a Talos version. @throws BAD_VERSION */
export function overlaysCatalog(talosVersion: string): string {
  return `${registry}/overlays:${vPrefixed(talosVersion)}`;
}

/** From which version on the factory hands out talosctl. */
export const firstTalosctlVersion = 'v1.11.0-alpha.3';

/**
 * References, with tag, of what a factory reads to build a Talos version; not what its two catalogs name.
 * `installer` goes along below 1.14, where Omni's --talos-installer-registry may point at it.
 * @throws BAD_VERSION
 */
export function factorySources(talosVersion: string): readonly string[] {
  const tag = vPrefixed(talosVersion);
  return [
    `${registry}/imager:${tag}`,
    ...(isFromMinor(tag, 10) ? [`${registry}/installer-base:${tag}`] : []),
    ...(isFromMinor(tag, 14) ? [] : [`${registry}/installer:${tag}`]),
    extensionsCatalog(tag),
    overlaysCatalog(tag),
    ...(compareVersions(tag, firstTalosctlVersion) < 0 ? [] : [`${registry}/talosctl-all:${tag}`]),
  ];
}
