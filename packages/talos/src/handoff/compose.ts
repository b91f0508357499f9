/**
 * Omni, the Image Factory and dex for docker compose or podman compose, as the vendor's guide runs them: the compose
 * file, Omni's flags by version, and dex's configuration. Values that only a person can give, and secrets, are
 * variables of `.env`.
 * Source: siderolabs/docs omni/self-hosted/run-omni-airgapped; siderolabs/omni cmd/omni/cmd/cmd.go,
 * internal/pkg/config/schema.json.
 */
import { selfHostedWireguardPort } from '../egress.ts';
import { prereleaseFlag } from '../inside/fit.ts';
import { logIns, omniVariables } from '../inside/services.ts';
import type { SiteService } from '../site.ts';
import { isFromMinor } from '../version.ts';
import { type Plain, yamlText } from '../yaml/go/emit.ts';
import {
  certificateFiles,
  type HandoffInput,
  hostOf,
  imageName,
  orPlaceholder,
  secretFile,
  variable,
} from './input.ts';

/** Of the factory's cache in the object store, when image-factory-s3.yaml is used; empty is none. */
const bucketCredentials = {
  AWS_ACCESS_KEY_ID: variable('AWS_ACCESS_KEY_ID:-'),
  AWS_SECRET_ACCESS_KEY: variable('AWS_SECRET_ACCESS_KEY:-'),
};

export function composeFile(input: HandoffInput): string {
  const { site, bucket, omniVersion, factoryVersion, dexVersion, ca } = input;
  const image = (host: string, repository: string, tag: string | undefined): string =>
    `${imageName(input, host, repository)}:${tag ?? 'FILL-IN'}`;
  const certificates = (service: SiteService, folder = '/certs'): readonly string[] => {
    const { chain, key } = certificateFiles(input, service);
    return [`${chain}:${folder}/server-chain.pem:ro,Z`, `${key}:${folder}/server-key.pem:ro,Z`];
  };
  const services: Record<string, Plain> = {};
  if (factoryVersion !== undefined) {
    services['image-factory'] = {
      image: image('ghcr.io', 'siderolabs/image-factory', factoryVersion),
      restart: 'unless-stopped',
      ports: [`${portOf(site.factory, '8080')}:8080`],
      command: ['--config', '/image-factory.yaml'],
      ...(bucket === undefined ? {} : { environment: bucketCredentials }),
      volumes: [
        './image-factory.yaml:/image-factory.yaml:ro,Z',
        `${secretFile(input, 'signing-key.key')}:/signing-key.key:ro,Z`,
        './cosign.pub:/cosign.pub:ro,Z',
        ...(ca === undefined ? [] : ['./ca.pem:/etc/ssl/certs/ca.pem:ro,Z']),
        ...certificates('factory'),
      ],
    };
  }
  if (site.oidc === undefined) {
    services['dex'] = {
      image: image('ghcr.io', 'dexidp/dex', dexVersion),
      restart: 'unless-stopped',
      ports: [`${portOf(site.login, '5556')}:5556`],
      command: ['dex', 'serve', '/etc/dex/dex.yaml'],
      environment: {
        ...Object.fromEntries(
          [omniVariables.oidcSecret, ...logIns(site).map((one) => one.variable)].map((name) => [
            name,
            variable(name),
          ]),
        ),
      },
      volumes: ['./dex.yaml:/etc/dex/dex.yaml:ro,Z', ...certificates('login', '/etc/dex/tls')],
    };
  }
  services['omni'] = {
    image: image('ghcr.io', 'siderolabs/omni', omniVersion),
    restart: 'unless-stopped',
    network_mode: 'host',
    cap_add: ['NET_ADMIN'],
    devices: ['/dev/net/tun:/dev/net/tun'],
    volumes: [
      './omni-etcd:/_out/etcd:rw,Z',
      './omni-sqlite:/_out/sqlite:rw,Z',
      `${secretFile(input, 'omni.asc')}:/omni.asc:ro,Z`,
      ...(ca === undefined ? [] : ['./ca.pem:/etc/ssl/certs/ca-certificates.crt:ro,Z']),
      ...certificates('omni'),
    ],
    command: [...omniFlags(input)],
  };
  return yamlText(
    { name: 'omni-air-gap', services },
    `${composeCommand(input)}, or podman in place of docker, as root (WireGuard and port 443 need it).\n${
      site.secrets === undefined
        ? 'Variables come from the file .env beside this one; README.txt says how to make it.'
        : 'Variables come from omni.env, which site init --pki makes.'
    }`,
  );
}

/** Starts the services of the compose file, in its folder. */
export function composeCommand(input: HandoffInput): string {
  const file = input.site.secrets === undefined ? '' : ` --env-file ${secretFile(input, 'omni.env')}`;
  return `docker compose${file} up -d`;
}

/** The port of a URL as it is published. */
function portOf(url: string | undefined, otherwise: string): string {
  if (url === undefined) return otherwise;
  const port = URL.parse(url)?.port ?? '';
  return port === '' ? (hostOf(url) === '' ? otherwise : url.startsWith('https:') ? '443' : '80') : port;
}

/** Those of the machine API have these names since 1.0; siderolink-api is older. */
function omniFlags(input: HandoffInput): readonly string[] {
  const { site, omniVersion } = input;
  const omni = orPlaceholder(site.omni, 'https://FILL-IN-omni.invalid');
  const isFrom = (minor: number): boolean => omniVersion === undefined || isFromMinor(omniVersion, minor);
  const factory = orPlaceholder(site.factory, 'https://FILL-IN-factory.invalid');
  const withPort = (port: number): string => {
    const url = URL.parse(omni);
    return url === null ? omni : `${url.protocol}//${url.hostname}:${port}`;
  };
  return [
    `--account-id=${variable(omniVariables.accountId)}`,
    '--name=air-gap-omni',
    ...(isFrom(7)
      ? [
          `--eula-accept-name=${variable(omniVariables.eulaName)}`,
          `--eula-accept-email=${variable(omniVariables.eulaEmail)}`,
        ]
      : []),
    `--initial-users=${logIns(site)
      .map(({ email }) => email)
      .join(',')}`,
    '--private-key-source=file:///omni.asc',
    ...(isFrom(4) ? ['--sqlite-storage-path=/_out/sqlite/omni.db'] : []),
    '--cert=/certs/server-chain.pem',
    '--key=/certs/server-key.pem',
    '--machine-api-cert=/certs/server-chain.pem',
    '--machine-api-key=/certs/server-key.pem',
    '--bind-addr=0.0.0.0:443',
    '--machine-api-bind-addr=0.0.0.0:8090',
    '--k8s-proxy-bind-addr=0.0.0.0:8100',
    '--event-sink-port=8091',
    // Off the factory's port, should both run on one host.
    '--metrics-bind-addr=0.0.0.0:2123',
    `--advertised-api-url=${omni}`,
    `--machine-api-advertised-url=${site.machineApi ?? withPort(8090)}`,
    `--advertised-kubernetes-proxy-url=${site.kubernetesProxy ?? withPort(8100)}`,
    `--siderolink-wireguard-advertised-addr=${orPlaceholder(site.wireguard, `FILL-IN-wireguard.invalid:${selfHostedWireguardPort}`)}`,
    '--auth-auth0-enabled=false',
    '--auth-oidc-enabled=true',
    `--auth-oidc-provider-url=${site.oidc?.issuer ?? orPlaceholder(site.login, 'https://FILL-IN-login.invalid:5556')}`,
    `--auth-oidc-client-id=${site.oidc?.clientId ?? 'omni'}`,
    `--auth-oidc-client-secret=${variable(omniVariables.oidcSecret)}`,
    '--auth-oidc-scopes=openid,profile,email',
    ...(isFrom(10)
      ? [
          `--primary-factory-url=${factory}`,
          ...(site.pxe === undefined ? [] : [`--primary-factory-pxe-url=${site.pxe}`]),
        ]
      : [
          `--image-factory-address=${factory}`,
          ...(site.pxe === undefined ? [] : [`--image-factory-pxe-address=${site.pxe}`]),
        ]),
    `--kubernetes-registry=${imageName(input, 'ghcr.io', 'siderolabs/kubelet')}`,
    `--talos-installer-registry=${imageName(input, 'ghcr.io', 'siderolabs/installer')}`,
    '--workload-proxying-enabled=false',
    ...(site.talosPreReleases === true ? [prereleaseFlag] : []),
  ];
}

/** A log-in for a site that has none, with its first users. */
export function dexConfig({ site }: HandoffInput): string {
  const omni = orPlaceholder(site.omni, 'https://FILL-IN-omni.invalid');
  return yamlText(
    {
      issuer: orPlaceholder(site.login, 'https://FILL-IN-login.invalid:5556'),
      storage: { type: 'memory' },
      web: {
        https: '0.0.0.0:5556',
        tlsCert: '/etc/dex/tls/server-chain.pem',
        tlsKey: '/etc/dex/tls/server-key.pem',
      },
      enablePasswordDB: true,
      staticClients: [
        {
          name: 'Omni',
          id: 'omni',
          secretEnv: omniVariables.oidcSecret,
          redirectURIs: [`${omni}/oidc/consume`],
        },
      ],
      staticPasswords: logIns(site).map((one) => ({
        email: one.email,
        username: one.username,
        preferredUsername: one.username,
        hashFromEnv: one.variable,
      })),
    },
    'A log-in for a site that has no OIDC or SAML of its own.\nThe secret and the hashes are variables; see README.txt.',
  );
}
