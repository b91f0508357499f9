/**
 * The images of a Kubernetes cluster: five by Kubernetes version, the others by exact Talos version from a table.
 * Source: siderolabs/talos pkg/images/list.go and pkg/machinery/constants at each tag; docs/talos-images.md.
 */
import { TalosError } from '../errors.ts';
import { vPrefixed } from '../version.ts';
import table from './kubernetes-table.json' with { type: 'json' };

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
      `Talos ${version} is not in the table of Kubernetes images (${range()}): leave it out of kubernetes and put the ` +
        `output of "talosctl image k8s-bundle", from the talosctl of ${version}, into images: talosctl image k8s-bundle > images.txt`,
    );
  }
  return Object.values(images);
}

/** The Talos versions of the table, oldest first. */
export function knownTalosVersions(): readonly string[] {
  return [...byTalosVersion.keys()];
}

function range(): string {
  const versions = knownTalosVersions();
  return `${versions[0]} to ${versions.at(-1)}`;
}
