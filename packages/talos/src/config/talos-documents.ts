/**
 * Machine configuration that sends Talos to the site's registry, trust and clock: documents for 1.12 and later, the
 * older `machine` form before.
 * Source: siderolabs/docs talos v1.12 to v1.14, reference/configuration/{cri,network,security}; v1.11 v1alpha1.
 */
import { publicFactoryHost } from '../factory.ts';
import type { HandoffInput } from './handoff-input.ts';
import { hostOf } from './site.ts';
import { type Plain, yamlDocuments, yamlText } from './yaml-text.ts';

const caName = 'site-ca';
/** What Talos and Kubernetes pull from unless told otherwise. */
const commonHosts = ['docker.io', 'gcr.io', 'ghcr.io', 'registry.k8s.io'];

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
    documents.push(
      yamlText({ apiVersion: 'v1alpha1', kind: 'RegistryTLSConfig', name: registry.host, ca }),
      trustedRoots(ca),
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
  const mirrors: Record<string, Plain> = {};
  for (const host of mirroredHosts(input)) {
    const { url, overridePath } = endpointFor(input, host);
    mirrors[host] = { endpoints: [url], ...(overridePath ? { overridePath } : {}), skipFallback: true };
  }
  const config =
    ca === undefined ? undefined : { [registry.host]: { tls: { ca: Buffer.from(ca).toString('base64') } } };
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
    'For Talos 1.12 and later: embed this in the installation media (customization.embeddedMachineConfiguration\nof a schematic, or omnictl download with an embedded configuration), so that machines trust Omni when they join.\n';
  return `${commented(head)}${trustedRoots(ca)}`;
}

export function trustedRoots(ca: string): string {
  return yamlText({ apiVersion: 'v1alpha1', kind: 'TrustedRootsConfig', name: caName, certificates: ca });
}

/** Hosts whose images are here. Omni names installers by the host of its factory URL. */
function mirroredHosts(input: HandoffInput): readonly string[] {
  const { imageHosts, hasInstallers, factoryVersion, site } = input;
  const hosts = new Set([...commonHosts, ...imageHosts.filter((host) => host !== publicFactoryHost)]);
  if (hasInstallers) hosts.add(publicFactoryHost);
  // A factory of the site's own answers for its installers itself; a bucket or page under that name does not.
  if (hasInstallers && factoryVersion === undefined && site.factory !== undefined)
    hosts.add(hostOf(site.factory));
  return [...hosts].sort();
}

/** Where Talos finds the repositories of a host in the registry. */
function endpointFor(
  { registry }: HandoffInput,
  host: string,
): { readonly url: string; readonly overridePath: boolean } {
  const { prefix, keepHost, plainHttp } = registry;
  const base = `${plainHttp ? 'http' : 'https'}://${registry.host}`;
  const path = [prefix, ...(keepHost ? [host.replaceAll(':', '-')] : [])]
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
