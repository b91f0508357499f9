/**
 * What machines are told: documents that send Talos 1.12 and later to the site's registry, trust and clock, the older
 * `machine` form, a kernel argument for 1.11, and a cluster template that uses them.
 * Source: siderolabs/docs talos v1.12 to v1.14, reference/configuration/{cri,network,security}; v1.11 v1alpha1;
 * omni/self-hosted/run-omni-airgapped; siderolabs/omni client/pkg/template/internal/models.
 */
import { constants, zstdCompressSync } from 'node:zlib';
import { publicFactoryHost } from '../factory.ts';
import { fitWarnings, newestOffered, notOffered } from '../inside/fit.ts';
import { isFromMinor } from '../version.ts';
import { type Plain, yamlDocuments, yamlText } from '../yaml/go/emit.ts';
import { type HandoffInput, hostOf } from './input.ts';

const caName = 'site-ca';
/** What Talos and Kubernetes pull from unless told otherwise. */
const commonHosts = ['docker.io', 'gcr.io', 'ghcr.io', 'registry.k8s.io'];

const logInToFill = { username: 'FILL-IN', password: 'FILL-IN' };

/** For Talos 1.12 and later. */
export function machinePatch(input: HandoffInput): string {
  const { ca, registry, site } = input;
  const documents = mirroredHosts(input).map((host) => {
    const { url, overridePath } = endpointFor(input, host);
    return yamlText({
      apiVersion: 'v1alpha1',
      kind: 'RegistryMirrorConfig',
      name: host,
      endpoints: [{ url, ...(overridePath ? { overridePath } : {}) }],
      skipFallback: true,
    });
  });
  if (ca !== undefined) {
    // Talos refuses to pull where a registry without TLS has such a document.
    if (!registry.plainHttp)
      documents.push(
        yamlText({ apiVersion: 'v1alpha1', kind: 'RegistryTLSConfig', name: registry.host, ca }),
      );
    documents.push(trustedRoots(ca));
  }
  if (registry.needsLogIn === true) {
    documents.push(
      yamlText(
        { apiVersion: 'v1alpha1', kind: 'RegistryAuthConfig', name: registry.host, ...logInToFill },
        'FILL IN: a user who may pull, and no more. This makes the file a secret.',
      ),
    );
  }
  const head =
    'For Talos 1.12 and later. A patch of the cluster template: every image comes from the site\nand nowhere else (without skipFallback each miss would wait for the internet).\n';
  documents.push(
    yamlText(
      { apiVersion: 'v1alpha1', kind: 'TimeSyncConfig', ntp: { servers: timeServers(site.ntp) } },
      'Drifting clocks break certificates and etcd.',
    ),
  );
  return `${commented(head)}${yamlDocuments(documents)}`;
}

/** For Talos up to 1.11. */
export function olderMachinePatch(input: HandoffInput): string {
  const { ca, registry, site } = input;
  const mirrors = Object.fromEntries(
    mirroredHosts(input).map((host): readonly [string, Plain] => {
      const { url, overridePath } = endpointFor(input, host);
      return [host, { endpoints: [url], ...(overridePath ? { overridePath } : {}), skipFallback: true }];
    }),
  );
  const ofRegistry = {
    ...(ca === undefined || registry.plainHttp ? {} : { tls: { ca: Buffer.from(ca).toString('base64') } }),
    ...(registry.needsLogIn === true ? { auth: logInToFill } : {}),
  };
  const config = Object.keys(ofRegistry).length === 0 ? undefined : { [registry.host]: ofRegistry };
  const machine = yamlText({
    machine: {
      registries: { mirrors, ...(config === undefined ? {} : { config }) },
      time: { servers: timeServers(site.ntp) },
    },
  });
  const head = 'For Talos 1.11 and older. A patch of the cluster template.\n';
  return `${commented(head)}${yamlDocuments(ca === undefined ? [machine] : [machine, trustedRoots(ca)])}`;
}

/** What a schematic embeds so that a machine trusts the site before it has joined; Talos 1.12 and later. */
export function embeddedConfig(ca: string): string {
  const head =
    'So that machines trust Omni when they join: installation-media.txt says how they get it. In the media themselves\nwith Talos 1.12 and later (customization.embeddedMachineConfiguration of a schematic).\n';
  return `${commented(head)}${trustedRoots(ca)}`;
}

/** The document by which a machine trusts the site's authority; Talos 1.8 and later. */
export function trustedRoots(ca: string): string {
  return yamlText({ apiVersion: 'v1alpha1', kind: 'TrustedRootsConfig', name: caName, certificates: ca });
}

/** Hosts whose images are here. Omni names installers by the host of its factory URL. */
function mirroredHosts(input: HandoffInput): readonly string[] {
  const { imageHosts, hasInstallers, factoryVersion, site } = input;
  const hosts = new Set([...commonHosts, ...imageHosts.filter((host) => host !== publicFactoryHost)]);
  if (hasInstallers) hosts.add(publicFactoryHost);
  // A factory of the site's own answers for its installers itself; a bucket or page under that name does not.
  // Talos speaks HTTPS to a host that it has no mirror for.
  const isPlain = site.factory?.startsWith('http:') === true;
  if (site.factory !== undefined && (isPlain || (hasInstallers && factoryVersion === undefined)))
    hosts.add(hostOf(site.factory));
  return [...hosts].sort();
}

/** Where Talos finds the repositories of a host in the registry. */
function endpointFor(
  { registry, site, factoryVersion, hasInstallers }: HandoffInput,
  host: string,
): { readonly url: string; readonly overridePath: boolean } {
  const { factory } = site;
  const isCarriedOnly = hasInstallers && factoryVersion === undefined;
  if (factory?.startsWith('http:') === true && !isCarriedOnly && hostOf(factory) === host)
    return { url: `http://${host}`, overridePath: false };
  const { prefix, keepHost, plainHttp } = registry;
  const base = `${plainHttp ? 'http' : 'https'}://${registry.host}`;
  // What was carried for the site's factory came from the public one, and lies under its name.
  const origin = factory !== undefined && hostOf(factory) === host ? publicFactoryHost : host;
  const path = [prefix, ...(keepHost ? [origin.replaceAll(':', '-')] : [])]
    .filter((part) => part !== '')
    .join('/');
  return path === '' ? { url: base, overridePath: false } : { url: `${base}/v2/${path}`, overridePath: true };
}

function timeServers(ntp: readonly string[] | undefined): readonly string[] {
  return ntp === undefined || ntp.length === 0 ? ['FILL-IN-ntp.invalid'] : ntp;
}

function commented(text: string): string {
  return text.replace(/^(?=.)/gm, '# ');
}

/** Bytes of a whole kernel command line. */
const commandLineBytes = 2048;
/** What Talos and Omni put on it themselves, with some room. */
const othersBytes = 700;

export interface EarlyArgument {
  /** `talos.config.early=…` and a line that says how long it is. */
  readonly text: string;
  readonly argument: string;
  /** False when it would be cut. */
  readonly fits: boolean;
}

export function earlyArgument(ca: string): EarlyArgument {
  const compressed = zstdCompressSync(Buffer.from(trustedRoots(ca)), {
    params: { [constants.ZSTD_c_compressionLevel]: 22 },
  });
  const argument = `talos.config.early=${compressed.toString('base64')}`;
  const room = commandLineBytes - othersBytes;
  const fits = argument.length <= room;
  const verdict = fits
    ? `It has ${argument.length} characters; up to ${room} are safe.`
    : `TOO LONG: it has ${argument.length} characters and only up to ${room} are safe; the kernel would cut it without a word. Use an authority with a P-256 key, or embedded-config.yaml.`;
  const text = `# A kernel argument for Talos 1.11 and later: ca.pem as TrustedRootsConfig; see installation-media.txt.\n# ${verdict}\n${argument}\n`;
  return { text, argument, fits };
}

/** Machine IDs are UUIDs: these belong to no machine, and a template may not name one twice. */
const machinesToFill = {
  ControlPlane: '00000000-0000-0000-0000-000000000001',
  Workers: '00000000-0000-0000-0000-000000000002',
} as const;

/** A cluster template for omnictl, of versions that Omni offers. */
export function clusterTemplate(input: HandoffInput): string {
  const { talosVersions, kubernetesVersions, omniVersion, site } = input;
  const offer = { omni: omniVersion, preReleases: site.talosPreReleases };
  const newest = newestOffered({ talos: talosVersions, kubernetes: kubernetesVersions }, offer);
  const talos = newest.talos ?? 'v0.0.0-FILL-IN';
  const isNewer = newest.talos === undefined || isFromMinor(talos, 12);
  const withoutPublic = newest.talos !== undefined && isFromMinor(talos, 14);
  const cluster = yamlText(
    {
      kind: 'Cluster',
      name: 'air-gap-cluster',
      kubernetes: { version: newest.kubernetes ?? 'v0.0.0-FILL-IN' },
      talos: { version: talos },
      features: {
        useEmbeddedDiscoveryService: true,
        ...(withoutPublic ? { disablePublicDiscoveryService: true } : {}),
      },
      patches: [{ name: 'air-gap', file: isNewer ? 'air-gap-patch.yaml' : 'air-gap-patch-1.11.yaml' }],
    },
    [
      'omnictl cluster template sync --file cluster-template.yaml',
      'The embedded discovery service is Omni’s own: discovery.talos.dev cannot be reached from here.',
      ...notOfferedHere(input),
    ].join('\n'),
  );
  const machines = (kind: keyof typeof machinesToFill, comment: string): string =>
    yamlText({ kind, machines: [machinesToFill[kind]] }, comment);
  return yamlDocuments([
    cluster,
    machines('ControlPlane', 'FILL IN: the IDs of machines, from omnictl get machines.'),
    machines('Workers', 'FILL IN other machines, or remove this document.'),
  ]);
}

/** Why some of the loaded versions cannot be used for a cluster: one line each. */
export function notOfferedHere({
  talosVersions,
  kubernetesVersions,
  omniVersion,
  site,
}: HandoffInput): readonly string[] {
  const offer = { omni: omniVersion, preReleases: site.talosPreReleases };
  const lines = talosVersions.flatMap((version) => notOffered(version, offer) ?? []);
  const { talos, kubernetes } = newestOffered(
    { talos: talosVersions, kubernetes: kubernetesVersions },
    offer,
  );
  if (talos !== undefined && kubernetes === undefined && kubernetesVersions.length > 0)
    lines.push(...fitWarnings({ talos: [talos], kubernetes: kubernetesVersions }));
  return lines;
}
