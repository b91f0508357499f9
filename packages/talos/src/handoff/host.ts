/**
 * What the host of the services needs, as steps of README.txt: a registry that answers first and that docker or podman
 * trusts, the start of the services by either, and what to keep copies of.
 * Source: docs.docker.com/engine/security/certificates; containers/image docs/containers-certs.d.5.md,
 * containers-registries.conf.5.md.
 */
import { omniVariables } from '../inside/services.ts';
import { composeCommand } from './compose.ts';
import { type HandoffInput, imageName, secretFile } from './input.ts';
import { environmentFile, omniVolumes, servicesToRun } from './services.ts';
import { registryUnitName } from './systemd.ts';

/** Where podman looks for units. */
const quadletFolder = '/etc/containers/systemd';

/** Step 0: nothing starts without its images. */
export function registryStep(input: HandoffInput): string {
  const { registry } = input;
  return `The registry. Its images start everything here, so it must answer first, after a reboot as well. If it is
omni-airgap serve --writable, run it as a unit: systemctl enable --now with the path of ${registryUnitName},
which site init --pki writes beside site.yaml. With --registry-user NAME it also makes a log-in for pushes and names it
in the unit (--htpasswd); registry-auth.json is the same log-in for load --registry-config. Without one, anyone who can
connect can push.
${trust(input)}${registry.needsLogIn === true ? `\n\n    docker login ${registry.host}        # or podman login` : ''}`;
}

function trust({ registry: { host, plainHttp }, ca }: HandoffInput): string {
  if (plainHttp)
    return `It speaks plain HTTP. Add it to insecure-registries in /etc/docker/daemon.json and restart docker, or for podman:

    printf '[[registry]]\\nlocation = "${host}"\\ninsecure = true\\n' > /etc/containers/registries.conf.d/omni-air-gap.conf`;
  if (ca === undefined)
    return 'docker and podman trust the authorities of this host; caFile in the site file names one of your own.';
  return `Let docker or podman on this host trust its certificate:

    mkdir -p /etc/docker/certs.d/${host} && cp ca.pem /etc/docker/certs.d/${host}/ca.crt
    mkdir -p /etc/containers/certs.d/${host} && cp ca.pem /etc/containers/certs.d/${host}/ca.crt`;
}

/** The start by compose or by systemd, and what is started. */
export function startStep(input: HandoffInput): string {
  const { site, bucket, omniVersion, factoryVersion, dexVersion } = input;
  const version = (what: string, repository: string, tag: string | undefined): string =>
    tag === undefined
      ? `${what}: not in what was loaded; ${imageName(input, 'ghcr.io', repository)}:FILL-IN`
      : `${what}: ${imageName(input, 'ghcr.io', repository)}:${tag}`;
  const health = servicesToRun(input)
    .filter((service) => service.health === undefined)
    .map(({ name }) => name)
    .join(' and ');
  const logIn =
    site.oidc === undefined
      ? 'dex is for sites without an OIDC provider; with one, name it in the site file under oidc, and load leaves dex out.'
      : `People log in at ${site.oidc.issuer}: register ${site.omni ?? 'FILL-IN'}/oidc/consume there as redirect URI of ${site.oidc.clientId}.`;
  return `Start, as root, with docker compose or podman compose:

    ${composeCommand(input, 'up -d')}

or with podman 4.5 or later and systemd:

    mkdir -p ${quadletFolder} && cp quadlets/* ${quadletFolder}/ && systemctl daemon-reload && systemctl start omni

The quadlets name the files of ${input.folder}: for another host, run load there, or put this folder at the same
path. Both spell the same services, and either runs alone.
${version('Omni', 'siderolabs/omni', omniVersion)}
${version('Image Factory', 'siderolabs/image-factory', factoryVersion)}
${site.oidc === undefined ? `${version('dex', 'dexidp/dex', dexVersion)}\n` : ''}compose.yaml and the quadlets name them by their digests. ${logIn}
Images of ${health} hold no program that could check the service: the next step does it.${
    bucket === undefined
      ? ''
      : `
To keep what the factory builds in the bucket ${bucket.bucket} as well: use image-factory-s3.yaml in place of
image-factory.yaml, and add AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=… to ${environmentFile(input)}.`
  }`;
}

/** What a site that burned down cannot make again. */
export function backups(input: HandoffInput): string {
  const { site, factoryVersion, ca } = input;
  const { etcd, sqlite } = omniVolumes;
  const rows: readonly (readonly [string, string])[] = [
    [
      `account ID (${omniVariables.accountId} in ${environmentFile(input)})`,
      'an Omni with another one loses its machines',
    ],
    [`database key (${secretFile(input, 'omni.asc')})`, 'nobody can read the database without it'],
    [`volumes ${etcd} and ${sqlite}`, 'Omni’s database: clusters, machines, users'],
    [
      site.secrets === undefined
        ? 'certificates and keys of the services'
        : 'PKI: the folder of site init --pki, its ca-key.pem offline',
      ca === undefined ? 'to be issued again otherwise' : 'machines trust this authority alone',
    ],
    ...(factoryVersion === undefined
      ? []
      : ([
          [
            `cache signing key (${secretFile(input, 'signing-key.key')})`,
            'the Image Factory builds everything again under another one',
          ],
          [
            'SecureBoot keys of the Image Factory, where secureBoot is on',
            'machines that enrolled them boot nothing that others signed',
          ],
        ] as const)),
    ['site.yaml and this folder', 'with what you changed'],
  ];
  return `Backups
-------
Keep copies in another place, encrypted: most of it is secret.
${rows.map(([what, why]) => `- ${what}: ${why}.`).join('\n')}
The volumes are copied while Omni is stopped:

    ${composeCommand(input, 'stop omni')} && ${composeCommand(input, 'cp omni:/_out omni-backup')}; ${composeCommand(input, 'start omni')}
    systemctl stop omni; podman volume export systemd-${etcd} -o ${etcd}.tar; podman volume export systemd-${sqlite} -o ${sqlite}.tar; systemctl start omni`;
}
