/**
 * The images that Omni, a self-hosted Image Factory and a Kubernetes cluster are made of, by version, and who signs
 * Sidero's.
 * Sources: siderolabs/image-factory 78e378a48 docs/sources.md, cmd/image-factory/cmd/options.go (the signers that a
 * factory expects); siderolabs/talos pkg/machinery/imager/quirks, pkg/images/list.go and pkg/machinery/constants at
 * each tag; docs.siderolabs.com, "Source Talos images"; docs/talos-images.md.
 */
import { TalosError } from '../errors.ts';
import { compareVersions, isFromMinor, vPrefixed } from '../version.ts';
import table from './kubernetes-table.json' with { type: 'json' };

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

const byTalosVersion: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map(Object.entries(table));

/**
 * References, with tag, of what a Kubernetes version brings.
 * @throws BAD_VERSION
 */
export function kubernetesImages(version: string): readonly string[] {
  const tag = vPrefixed(version);
  return [
    `ghcr.io/siderolabs/kubelet:${tag}`,
    ...['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'].map(
      (name) => `registry.k8s.io/${name}:${tag}`,
    ),
  ];
}

/**
 * References, with tag, of what a Talos version adds: etcd, coredns, flannel, pause, and from 1.13 on
 * kube-network-policies.
 * @throws BAD_VERSION, UNKNOWN_TALOS_VERSION
 */
export function talosKubernetesImages(talosVersion: string): readonly string[] {
  const version = vPrefixed(talosVersion);
  const images = byTalosVersion.get(version);
  if (images === undefined) {
    throw new TalosError(
      'UNKNOWN_TALOS_VERSION',
      `Talos ${version} is not in the table of Kubernetes images (${range()}): run the talosctl of ${version}, ` +
        `"${listCommand(version)} > images-${version}.txt", and add the file to mirror.yaml: ` +
        `kubernetes: {images: {${version}: images-${version}.txt}}`,
    );
  }
  return Object.values(images);
}

/**
 * The command of a Talos version's talosctl that prints the images of a Kubernetes cluster, one a line. From 1.12 on
 * `talosctl image k8s-bundle`; before, it has another name.
 */
function listCommand(talosVersion: string): string {
  return `talosctl image ${isFromMinor(talosVersion, 12) ? 'k8s-bundle' : 'default'}`;
}

/** Repositories, by their last segment, that every release's list of images has. */
const alwaysListed = ['etcd', 'coredns', 'pause'] as const;

/**
 * Looks whether references are what `talosctl image k8s-bundle` prints, or `talosctl image default` below Talos 1.12.
 * @throws BAD_IMAGE naming what a cluster would lack
 */
export function checkKubernetesList(talosVersion: string, references: readonly string[]): void {
  const missing = alwaysListed.filter((name) => !references.some((one) => segmentOf(one) === name));
  if (missing.length === 0) return;
  throw new TalosError(
    'BAD_IMAGE',
    `lists no image of ${missing.join(', ')}; write it with the talosctl of ${talosVersion}: ${listCommand(talosVersion)}`,
  );
}

/** `coredns` of `registry.k8s.io/coredns/coredns:v1.13.1@sha256:…` */
function segmentOf(reference: string): string | undefined {
  return /([^/:@]+)(?::[^/@]+)?(?:@.*)?$/.exec(reference)?.[1];
}

/** The Talos versions of the table, oldest first. */
export function knownTalosVersions(): readonly string[] {
  return [...byTalosVersion.keys()];
}

function range(): string {
  const versions = knownTalosVersions();
  return `${versions[0]} to ${versions.at(-1)}`;
}

/** References of Sidero's own images begin with it. */
export const sideroPrefix = 'ghcr.io/siderolabs/';
/** A regular expression for the whole identity. */
export const sideroSigners: string = String.raw`[^@]+@siderolabs\.com|releasemgr-svc@talos-production\.iam\.gserviceaccount\.com`;
/** Who vouches for these identities. */
export const sideroIssuer = 'https://accounts.google.com';
