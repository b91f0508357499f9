/** What the sample offers: versions that belonged together in August 2026, and images with their share of the size. */
import { talosKubernetesImages } from '../../packages/talos/src/index.ts';

export const talosVersion = 'v1.13.9';
export const kubernetesVersion = 'v1.36.1';
export const factoryHost = 'factory.talos.dev';

/** Versions that exist at a time, the oldest first. */
export interface SampleVersions {
  readonly omni: readonly string[];
  readonly talos: readonly string[];
  readonly kubernetes: readonly string[];
}

export const currentVersions: SampleVersions = {
  omni: ['v1.10.4'],
  talos: [talosVersion],
  kubernetes: [kubernetesVersion],
};
/** As upstream was when a site was set up… */
export const firstMonth: SampleVersions = {
  omni: ['v1.8.2'],
  talos: ['v1.12.10'],
  kubernetes: ['v1.34.3'],
};
/** …and as it is when the site is upgraded: two minor releases of Omni and Kubernetes later. */
export const secondMonth: SampleVersions = {
  omni: [...firstMonth.omni, 'v1.9.7', ...currentVersions.omni],
  talos: [...firstMonth.talos, 'v1.12.11', ...currentVersions.talos],
  kubernetes: [...firstMonth.kubernetes, 'v1.35.2', ...currentVersions.kubernetes],
};

export interface SampleImage {
  /** Full reference. */
  readonly reference: string;
  /** MiB of one platform's own layers when the whole sample has 300 MiB. */
  readonly share: number;
  /** What the program inside is called. */
  readonly program: string;
  /** Docker's media types, as the publisher uses them. */
  readonly docker?: boolean;
  /** Files in place of the program, at the paths where an Image Factory reads them. */
  readonly files?: readonly SampleFile[];
}

export interface SampleFile {
  readonly path: string;
  /** In the unit of an image's share. */
  readonly share: number;
  /** The first bytes, by which readers know the format. */
  readonly magic: Buffer;
}

const ghcr = (name: string, tag: string, share: number): SampleImage => ({
  reference: `ghcr.io/${name}:${tag}`,
  share,
  program: name.split('/').at(-1) ?? name,
});
const kubernetes = (name: string, tag: string, share: number): SampleImage => ({
  reference: `registry.k8s.io/${name}:${tag}`,
  share,
  program: name.split('/').at(-1) ?? name,
  docker: true,
});

/** First bytes of executables for UEFI and Windows, which the Linux kernel has too. */
export const peMagic: Buffer = Buffer.from('MZ');
export const zstdMagic: Buffer = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** First bytes of a program by its operating system. */
export const programMagics: Readonly<Record<string, Buffer>> = {
  linux: Buffer.from('\x7fELF'),
  darwin: Buffer.from([0xcf, 0xfa, 0xed, 0xfe]),
  windows: peMagic,
};

export const talosctlFiles: readonly string[] = [
  'talosctl-linux-amd64',
  'talosctl-linux-arm64',
  'talosctl-darwin-arm64',
];

/**
 * What an Image Factory builds boot assets from. It reads the image of amd64 for both architectures.
 * Source: siderolabs/image-factory v1.5.0 internal/artifacts/{artifacts,fetch}.go.
 */
const bootParts: readonly SampleFile[] = ['amd64', 'arm64'].flatMap((architecture) =>
  (
    [
      ['vmlinuz', 2, peMagic],
      ['initramfs.xz', 3, zstdMagic],
      ['systemd-boot.efi', 0.5, peMagic],
      ['systemd-stub.efi', 0.5, peMagic],
    ] as const
  ).map(([name, share, magic]) => ({ path: `usr/install/${architecture}/${name}`, share, magic })),
);

/** Every talosctl, at the root. Source: siderolabs/image-factory v1.5.0 internal/artifacts/versions.go. */
const talosctls: readonly SampleFile[] = talosctlFiles.map((path) => ({
  path,
  share: 2,
  magic: programMagics[path.split('-')[1] ?? ''] ?? Buffer.alloc(0),
}));

/** MiB of what a Talos version adds for Kubernetes, by the last segment of the name. */
const clusterShares: Readonly<Record<string, number>> = { etcd: 3, coredns: 2, flannel: 1.5, pause: 0.2 };

/** All images but those that catalogs name, each once. */
export function imagesOf({ omni, talos, kubernetes: versions }: SampleVersions): readonly SampleImage[] {
  const cluster = new Set(talos.flatMap(talosKubernetesImages));
  return [
    ...omni.map((version) => ghcr('siderolabs/omni', version, 12)),
    ghcr('siderolabs/image-factory', 'v1.5.0', 6),
    ...talos.flatMap((version) => [
      { ...ghcr('siderolabs/imager', version, 12), files: bootParts },
      ghcr('siderolabs/installer-base', version, 4),
      ghcr('siderolabs/installer', version, 6),
      { ...ghcr('siderolabs/talosctl-all', version, 6), files: talosctls },
    ]),
    ghcr('dexidp/dex', 'v2.41.1', 4),
    ...versions.flatMap((version) => [
      ghcr('siderolabs/kubelet', version, 8),
      kubernetes('kube-apiserver', version, 3),
      kubernetes('kube-controller-manager', version, 2),
      kubernetes('kube-scheduler', version, 2),
      kubernetes('kube-proxy', version, 2),
    ]),
    ...[...cluster].map((reference) => {
      const [, host = '', name = '', tag = ''] = /^([^/]+)\/(.+):([^:]+)$/.exec(reference) ?? [];
      const share = clusterShares[name.split('/').at(-1) ?? ''] ?? 1;
      return host === 'ghcr.io' ? ghcr(name, tag, share) : kubernetes(name, tag, share);
    }),
  ];
}

/** System extensions, named by the catalog image `siderolabs/extensions`. */
export const extensions: readonly (SampleImage & { readonly description: string })[] = [
  { ...ghcr('siderolabs/iscsi-tools', 'v0.2.0', 1), description: 'iSCSI initiator tools' },
  { ...ghcr('siderolabs/qemu-guest-agent', '10.1.3', 1), description: 'QEMU guest agent' },
  { ...ghcr('siderolabs/util-linux-tools', '2.41.2', 1), description: 'Tools such as fstrim' },
];

/** Overlays, named by the catalog image `siderolabs/overlays`. */
export const overlays: readonly (SampleImage & { readonly name: string })[] = [
  { ...ghcr('siderolabs/sbc-raspberrypi', 'v0.2.1', 1), name: 'rpi_generic' },
];

/** MiB of the media files of one schematic when the whole sample has 300 MiB; the ISO holds the other two. */
export const mediaShare = { kernel: 16, initramfs: 44 } as const;
/** MiB that the shares above come to with both platforms, and so the size they are scaled from. */
export const fullSize = 300;

export const defaultMedia: readonly string[] = [
  'metal-amd64.iso',
  'kernel-amd64',
  'initramfs-amd64.xz',
  'cmdline-metal-amd64',
];
