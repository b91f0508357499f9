/** A site.yaml with comments, from the few things that only a site knows. Pure: values in, text out. */
import { type CertificateFiles, type Site, type SiteService, siteServices } from '../site.ts';

/** What site init writes; absent values become commented lines. */
export type SiteAnswers = Omit<Site, 'registry'> & { readonly omni: string; readonly registry?: string };

export function siteText(site: SiteAnswers): string {
  const { certificates } = site;
  const line = (key: keyof Site, comment: string, example: string): string => {
    const value = site[key];
    const text =
      value === undefined
        ? `# ${key}: ${example}`
        : `${key}: ${typeof value === 'object' ? listOrMapping(value) : scalar(String(value))}`;
    return comment === '' ? text : `${text.padEnd(42)} # ${comment}`;
  };
  return `# What only this site knows. Read by load --site, egress check --inside --site, and site init.
# After a change run load again: it writes the hand-off again, and sends nothing twice.

# Where services answer. Every name must resolve for people and machines.
${line('omni', 'people, machines', 'https://omni.site')}
${line('machineApi', 'machines join here', 'https://omni.site:8090')}
${line('kubernetesProxy', 'kubectl', 'https://omni.site:8100')}
${line('factory', 'media and installers', 'https://factory.site:8080')}
${line('registry', 'every image', 'https://registry.site:5000')}
${line('login', 'OIDC: dex of the hand-off', 'https://login.site:5556')}
${line('objectStore', 'S3: the default of --s3-endpoint', 'https://s3.site:9000')}
# Your own OIDC provider, in place of login and dex. Its client for Omni has the redirect URI OMNI/oidc/consume.
${line('oidc', '', '{issuer: "https://sso.site/realms/site", clientId: omni, clientSecretFile: oidc-secret.txt}')}
# iPXE trusts no authority of your own, so PXE clients need plain HTTP.
${line('pxe', '', 'http://pxe.site')}

# Address and UDP port of Omni for the WireGuard tunnels of machines.
${line('wireguard', '', '10.0.0.5:50180')}
# Time servers: certificates and etcd break when clocks drift apart.
${line('ntp', '', '[10.0.0.1]')}

# Paths begin at the folder of this file. The authority that issued the certificates, in PEM, unless everyone trusts it:
${line('caFile', '', 'ca.pem')}
# For each service its certificate followed by those who issued it, and its key.
${
  certificates === undefined
    ? `# certificates:\n${siteServices.map((service) => `#   ${certificateLine(service, exampleFiles(service))}`).join('\n')}`
    : `certificates:\n${Object.entries(certificates)
        .map(([service, files]) => `  ${certificateLine(service, files)}`)
        .join('\n')}`
}
# omni.env, omni.asc and signing-key.key, which compose.yaml uses: site init --pki makes them.
${line('secrets', '', 'pki/services')}

# The first users of Omni, all administrators.
${line('users', '', '[admin@omni.site]')}

# Let Omni offer pre-releases of Talos for clusters.
${line('talosPreReleases', '', 'true')}
`;
}

function listOrMapping(value: NonNullable<Site[keyof Site]>): string {
  if (Array.isArray(value)) return `[${value.map((one: string) => scalar(one)).join(', ')}]`;
  const entries = Object.entries(value as Readonly<Record<string, string>>);
  return `{${entries.map(([key, text]) => `${key}: ${scalar(text)}`).join(', ')}}`;
}

function certificateLine(service: string, { chain, key }: CertificateFiles): string {
  return `${service}: {chain: ${scalar(chain)}, key: ${scalar(key)}}`;
}

function exampleFiles(service: SiteService): CertificateFiles {
  return { chain: `${service}-chain.pem`, key: `${service}-key.pem` };
}

/** Quoted where YAML would read something else. */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z0-9./][^\s,[\]{}#&*!|>'"%`]*$/.test(text) && Number.isNaN(Number(text));
  return isPlain ? text : JSON.stringify(text);
}
