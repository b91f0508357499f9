/** The steps that remain after a load, in order, with the commands that make what is secret. */
import { unmetDemands } from '../inside/demands.ts';
import { logIns, omniVariables } from '../inside/services.ts';
import { connectionsText, logInSteps, machinePortsText } from './connections.ts';
import { backups, registryStep, startStep } from './host.ts';
import { type HandoffInput, hostOf, imageName } from './input.ts';
import { missingInstallers } from './join.ts';
import { notOfferedHere } from './machines.ts';

export function readmeText(input: HandoffInput): string {
  const { site, registry, talosVersions, kubernetesVersions, factoryVersion } = input;
  const image = (host: string, repository: string): string => imageName(input, host, repository);
  const steps: string[] = [
    registryStep(input),
    `Look for FILL-IN in these files. Each is a value that only this site knows; a file for load --site
gives them all at once, and load writes the files again (nothing is sent again).`,
    certificatesStep(input),
    secretsStep(input),
    input.signingKey === undefined
      ? `Signatures. An Image Factory inside cannot check the keyless signatures from upstream. Run load again with
--resign-key KEY (omni-airgap keygen --out site makes one): it signs every image the factory checks, and puts
cosign.pub here.`
      : 'Signatures: the images that the factory checks are signed with the key of cosign.pub.',
    startStep(input),
    ...logInSteps(input),
    `Check, on the host of Omni: omni-airgap egress check --inside tells whether registry, object store, factory,
log-in, Omni and time answer, and whether this host has what Omni's tunnels need.
Omni lists the tags of ${image('ghcr.io', 'siderolabs/kubelet')} to know the Kubernetes versions it offers: the registry
must allow that, and Omni needs its authority and, if it asks for a log-in, credentials.`,
    `Machines: installation-media.txt has the ways to boot them so that they trust this site, join and install, with commands,
and the installer that Omni requests for each.`,
    `A cluster: fill in the machines in cluster-template.yaml, then omnictl cluster template sync --file cluster-template.yaml.
Its patch sends every machine to this registry. Talos ${talosVersions.join(', ') || 'FILL-IN'}, Kubernetes ${kubernetesVersions.join(', ') || 'FILL-IN'}.${notOfferedHere(
      input,
    )
      .map((line) => `\n${line}.`)
      .join('')}`,
  ];
  const demands = unmetDemands(site, registry, { selfHosted: factoryVersion !== undefined });
  const unmet = [
    ...demands.filter(({ severity }) => severity !== 'limits').map(({ problem }) => problem),
    ...missingInstallers(input),
  ].map((problem) => `- ${problem}`);
  const limits = demands
    .filter(({ severity }) => severity === 'limits')
    .map(({ problem }) => `- ${problem}\n`);
  const open =
    unmet.length === 0
      ? ''
      : `Before anything else: what would not work\n-----------------------------------------\n${unmet.join('\n')}\n\n`;
  return `${open}What remains to be done at this site, in order
==============================================

${steps.map((step, i) => `${i}. ${indent(step)}`).join('\n\n')}

Three ways to run inside
------------------------
- A self-hosted Image Factory (image-factory.yaml) over the loaded sources: builds anything, with its own keys.
- omni-airgap serve --bundle DIR: the media and installers that were carried, nothing else, no build.
- The object store behind any web server: media for people, PXE and imaging. Omni needs one of the other two as well.

Who connects where
------------------
${connectionsText(input)}

Ports that machines need
------------------------
${machinePortsText(input)}
Inside the SideroLink tunnel Omni is fd00:41e4:649b:9303::1; that address is never reachable from outside it.

${backups(input)}

Worth knowing
-------------
- Retention rules of a registry delete schematics and sha256-….sig tags: make an exception for both.
- SecureBoot: another factory signs with another key. Machines enrolled with the public factory's must be enrolled again.
- iPXE cannot verify a certificate of an authority it was not built with: give PXE clients plain HTTP.
- Containers of docker do not see /etc/hosts of the host: names must come from DNS.
- Clocks: everything above breaks when they drift apart. Name time servers in the --site file.
${limits.join('')}${trimmedText(input)}${withdrawnText(input)}`;
}

function trimmedText({ trimmed = [] }: HandoffInput): string {
  if (trimmed.length === 0) return '';
  return `- These tags stand for an index of the carried platforms only (load --trim-indexes). Pull them by tag: the digest of the
  original index is not in the registry, and signatures of it do not cover these (signatures of one platform do):
${trimmed.map((tag) => `    ${tag}\n`).join('')}`;
}

/** Names that are listed here at most; report.html of the bundle has all. */
const maxWithdrawn = 20;

function withdrawnText({ withdraws = [] }: HandoffInput): string {
  if (withdraws.length === 0) return '';
  // Signatures go with what they are about.
  const names = withdraws.filter((name) => !/@sha256:|:sha256-[a-f0-9]{64}/.test(name));
  const more = names.length > maxWithdrawn ? `    and ${names.length - maxWithdrawn} more\n` : '';
  return `- The bundle withdraws these names of earlier bundles: they must no longer be used (report.html lists all). Move what still runs
  them to other versions. They stay in registry and object store until omni-airgap prune deletes them; serve does not serve
  them from earlier bundles when this bundle is among those given:
${names
  .slice(0, maxWithdrawn)
  .map((name) => `    ${name}\n`)
  .join('')}${more}`;
}

function certificatesStep(input: HandoffInput): string {
  const { site, ca } = input;
  const missing =
    ca === undefined
      ? '\nca.pem is missing here: give caFile in the --site file if the authority is the site’s own.'
      : '';
  const dexKey = site.certificates?.login?.key ?? 'server-key.pem';
  const dex =
    site.oidc === undefined
      ? ` dex runs as user 1001
and must be able to read its key: chown 1001 ${dexKey} && chmod 400 ${dexKey}.`
      : '';
  const files =
    site.certificates === undefined
      ? `Put server-chain.pem (the certificate, then the authority) and server-key.pem beside these files, or run
omni-airgap site init --pki, which makes an authority and a certificate for each service.`
      : `The site file names the certificate and the key of each service; site init prints when they expire.`;
  return `Names and certificates. These names must resolve, for people and machines, and the certificate must be for them:
${namesOf(input)}
${files}${dex}${missing}`;
}

function secretsStep({ site }: HandoffInput): string {
  if (site.secrets !== undefined)
    return `Secrets: omni.env, omni.asc and signing-key.key are in ${site.secrets}; omni-airgap site init --pki makes what is
missing there.`;
  const users = logIns(site);
  const [{ email } = { email: '' }] = users;
  const { accountId, oidcSecret, eulaName, eulaEmail } = omniVariables;
  const logInLines =
    site.oidc === undefined
      ? [
          `      echo "${oidcSecret}=$(openssl rand -hex 32)"`,
          ...users.map(
            ({ variable, username }) =>
              `      echo "${variable}='$(htpasswd -BnC 12 ${username} | cut -d: -f2)'"  # asks for the password`,
          ),
        ]
      : [
          `      echo "${oidcSecret}=$(head -n 1 '${site.oidc.clientSecretFile}')"           # of your provider`,
        ];
  return `Secrets, made here and nowhere else (omni-airgap site init --pki makes the same, without gpg and htpasswd):

    openssl ecparam -name prime256v1 -genkey -noout -out signing-key.key      # Image Factory: signs what it caches
    gpg --batch --passphrase '' --quick-generate-key 'Omni (etcd) ${email}' rsa4096 cert never
    FINGERPRINT=$(gpg --with-colons --list-keys '${email}' | awk -F: '$1 == "fpr" {print $10; exit}')
    gpg --batch --passphrase '' --quick-add-key "$FINGERPRINT" rsa4096 encr never
    gpg --export-secret-key --armor '${email}' > omni.asc          # Omni: encrypts its database. Keep a copy.
    {
      echo "${accountId}=$(cat /proc/sys/kernel/random/uuid)"              # once; an Omni that gets another one loses its machines
${logInLines.join('\n')}
      echo "${eulaName}='...'"                                              # whoever accepts Omni's license terms: yours to fill in
      echo "${eulaEmail}=..."
    } > .env && chmod 600 .env omni.asc signing-key.key`;
}

function namesOf({ site, registry }: HandoffInput): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['Omni', site.omni],
    ['machine API', site.machineApi],
    ['Image Factory', site.factory],
    ['PXE', site.pxe],
    ['log-in', site.oidc?.issuer ?? site.login],
  ];
  const names = rows.map(([what, url]) => [what, url === undefined ? 'FILL-IN' : hostOf(url)] as const);
  return [...names, ['registry', registry.host] as const]
    .map(([what, host]) => `    ${what.padEnd(14)} ${host}`)
    .join('\n');
}

function indent(text: string): string {
  return text.replaceAll(/\n(?=.)/g, '\n   ');
}
