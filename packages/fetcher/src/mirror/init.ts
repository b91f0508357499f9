/** init: a mirror.yaml to start from, with every section explained. */
import { CodedError } from '@omni-airgap/oci/base';
import { writeOutput } from '@omni-airgap/oci/fs';

/** Versions that belonged together when this was released. */
const template = `# What to carry across the air gap. Every section but apiVersion is optional.
# "omni-airgap plan" shows what it means, in bytes, before anything is fetched.
apiVersion: omni-airgap/v1

# ghcr.io/siderolabs/omni. Needs the kubernetes section: Omni offers the versions whose kubelet it finds.
omni:
  version: v1.10.4

talos:
  versions: [v1.13.9]
  # Everything a self-hosted Image Factory builds from, for amd64 and arm64.
  # imageFactory:
  #   version: v1.5.0
  #   extensions: [siderolabs/iscsi-tools]   # or all
  #   overlays: []                           # or all
  # talosctl: [linux-amd64]                  # comes along with media; or all, or [] for none

# Talos media and installers, built by factory.talos.dev for a schematic.
media:
  - schematic: {customization: {}}           # inline, a file, or a 64-hex schematic ID
    files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]                      # factory.talos.dev/metal-installer/<id>:<version>

kubernetes:
  versions: [v1.36.1]
  # images: {v1.14.0: images.txt}            # for a Talos version newer than this program: the output of its
  #                                          # "talosctl image k8s-bundle" as it is

# Anything else that lives in a registry: images, Helm charts, artifacts.
images:
  - ghcr.io/dexidp/dex:v2.41.1               # log-in for Omni
  # - {file: images.txt}                     # one a line

# Carry only some platforms of images and kubernetes (never of the Image Factory's set). Digests do not change: the
# index stays as it is, and points at platforms that are then missing. Some registries (Distribution 2.8, the
# "registry:2" of many guides) refuse such an index, so all platforms are carried unless you say otherwise.
# platforms: [linux/amd64]

# What is known of the site: plan, fetch and bundle say what does not work there, and what is left to confirm.
# inside:
#   registry: harbor                         # the kind of registry
#   tls: true                                # machines and Omni reach it over HTTPS
#   factory: carried                         # the Image Factory: carried with this set, existing, or serve
`;

/** What a site with a self-hosted Omni needs, complete: nothing is left to uncomment. Versions as in `template`. */
const omniSite = `# A site with its own Omni, Image Factory, log-in and Kubernetes clusters. It can be fetched as it is.
# "omni-airgap plan" shows what it means, in bytes, before anything is fetched.
apiVersion: omni-airgap/v1

# ghcr.io/siderolabs/omni.
omni:
  version: v1.10.4

talos:
  versions: [v1.13.9]                        # the versions that machines run; Omni offers these
  # What the site's Image Factory builds from, for amd64 and arm64. It builds the installation media and installers that
  # Omni asks for, with these extensions and no others.
  imageFactory:
    version: v1.5.0
    extensions:                              # or all
      - siderolabs/iscsi-tools
      - siderolabs/qemu-guest-agent
      - siderolabs/util-linux-tools
    overlays: []                             # for single-board computers: [rpi_generic], or all
  talosctl: [linux-amd64]                    # for the administrators; or all

# Kubernetes versions that Omni offers, with etcd, CoreDNS and others for each of talos.versions.
kubernetes:
  versions: [v1.36.1]
  # images: {v1.14.0: images.txt}            # for a Talos version newer than this program: the output of its
  #                                          # "talosctl image k8s-bundle" as it is

# Media for the first machines, and talosctl.
media:
  - schematic: {customization: {}}
    files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]

images:
  - ghcr.io/dexidp/dex:v2.41.1               # log-in for Omni
  # Infrastructure providers, where Omni is to make machines by itself. Take the version that fits your Omni:
  # - ghcr.io/siderolabs/omni-infra-provider-bare-metal:VERSION
  # - ghcr.io/siderolabs/omni-infra-provider-kubevirt:VERSION
  # A registry to load into, where the site has none ("omni-airgap serve --writable" is one too):
  # - docker.io/library/registry:3

# What is known of the site: plan, fetch and bundle say what does not work there, and what is left to confirm.
inside:
  factory: carried                           # talos.imageFactory; or existing, or serve
  # registry: harbor                         # the kind of registry
  # tls: true                                # machines and Omni reach it over HTTPS
`;

const templates = { start: template, 'omni-site': omniSite } as const;

/** What a mirror.yaml is for: `start` has every section, to be edited; `omni-site` is complete. */
export type InitPurpose = keyof typeof templates;

/**
 * Writes the template of a purpose.
 * @throws CONFLICT when there is a file already, USAGE for a folder, NO_INPUT without its folder, DISK
 */
export async function init(path: string, purpose: InitPurpose = 'start'): Promise<void> {
  if (await writeOutput('--config', path, templates[purpose], { isNew: true })) return;
  throw new CodedError('CONFLICT', `${path}: already exists; remove it, or name another file with --config`);
}
