/**
 * What runs at a site, as data: the containers of the Image Factory, dex and Omni with their images, flags, files and
 * ports. compose.yaml and the quadlets of podman are two spellings of it. Values that only a person can give, and
 * secrets, are variables of the environment file.
 * Source: siderolabs/docs omni/self-hosted/run-omni-airgapped, run-omni-on-prem (the trust store), run-image-factory-
 * on-prem; siderolabs/omni cmd/omni/cmd/cmd.go, internal/pkg/config/schema.json, Dockerfile; dexidp/dex
 * cmd/dex/serve.go (telemetry).
 */
import { selfHostedWireguardPort } from '../egress.ts';
import { prereleaseFlag } from '../inside/fit.ts';
import { logIns, omniVariables, wireguardEndpoint } from '../inside/services.ts';
import type { SiteService } from '../site.ts';
import { isFromMinor } from '../version.ts';
import {
  certificateFiles,
  type HandoffInput,
  hostOf,
  imageName,
  orPlaceholder,
  secretFile,
  variable,
} from './input.ts';

/** One container. */
export interface Service {
  readonly name: string;
  readonly description: string;
  /** By digest where it was loaded, else by tag. */
  readonly image: string;
  /** Arguments; `${NAME}` is a variable of the environment file. */
  readonly command: readonly string[];
  /** Variables of the environment file that the program reads itself. */
  readonly environment: readonly Variable[];
  readonly mounts: readonly Mount[];
  readonly network: PublishedPort | 'host';
  readonly capabilities: readonly string[];
  readonly devices: readonly string[];
  /** A program in the container that fails while the service is not ready. Images without any program have none. */
  readonly health?: readonly string[];
  /** Services that must run before it. */
  readonly after: readonly string[];
}

interface PublishedPort {
  readonly host: string;
  readonly container: string;
}

interface Variable {
  readonly name: string;
  readonly isOptional?: boolean;
}

/** A file that is read, by its path as the hand-off sees it; or a volume that is written. */
type Mount =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly at: string;
      /** More than one container reads it: SELinux must not give it to one alone. */
      readonly isShared: boolean;
    }
  | { readonly kind: 'volume'; readonly volume: string; readonly at: string };

/** Volumes of Omni: whoever loses them, or the key of the database, loses all of Omni. */
export const omniVolumes = { etcd: 'omni-etcd', sqlite: 'omni-sqlite' } as const;

/** Where dex says in the container whether it is ready. */
export const dexTelemetry = '127.0.0.1:5558';

/** In the order in which they start. */
export function servicesToRun(input: HandoffInput): readonly Service[] {
  const { site, factoryVersion } = input;
  const first: Service[] = [];
  if (factoryVersion !== undefined) first.push(imageFactory(input));
  if (site.oidc === undefined) first.push(dex(input));
  return withSharedFiles([...first, omni(input, first)]);
}

/** Names of all volumes. */
export function volumesOf(services: readonly Service[]): readonly string[] {
  return services.flatMap(({ mounts }) =>
    mounts.flatMap((mount) => (mount.kind === 'volume' ? [mount.volume] : [])),
  );
}

/** The file with the variables of all services, by its path as the hand-off sees it. */
export function environmentFile(input: HandoffInput): string {
  return input.site.secrets === undefined ? './.env' : secretFile(input, 'omni.env');
}

function withSharedFiles(services: readonly Service[]): readonly Service[] {
  const paths = services.flatMap(({ mounts }) =>
    mounts.flatMap((mount) => (mount.kind === 'file' ? [mount.path] : [])),
  );
  const isShared = (path: string): boolean => paths.indexOf(path) !== paths.lastIndexOf(path);
  return services.map((service) => ({
    ...service,
    mounts: service.mounts.map((mount) =>
      mount.kind === 'file' ? { ...mount, isShared: isShared(mount.path) } : mount,
    ),
  }));
}

const none = { capabilities: [], devices: [], environment: [], after: [] } as const;

function imageFactory(input: HandoffInput): Service {
  const { site, bucket, factoryVersion } = input;
  return {
    ...none,
    name: 'image-factory',
    description: 'Image Factory',
    image: imageOf(input, 'siderolabs/image-factory', factoryVersion),
    command: ['--config', '/image-factory.yaml'],
    // Of its cache in the object store, when image-factory-s3.yaml is used.
    environment:
      bucket === undefined
        ? []
        : ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'].map((name) => ({ name, isOptional: true })),
    mounts: [
      file('./image-factory.yaml', '/image-factory.yaml'),
      file(secretFile(input, 'signing-key.key'), '/signing-key.key'),
      file('./cosign.pub', '/cosign.pub'),
      ...authority(input),
      ...certificates(input, 'factory', '/certs'),
    ],
    network: { host: portOf(site.factory, '8080'), container: '8080' },
  };
}

function dex(input: HandoffInput): Service {
  const { site, dexVersion } = input;
  return {
    ...none,
    name: 'dex',
    description: 'dex, the log-in of Omni',
    image: imageOf(input, 'dexidp/dex', dexVersion),
    command: ['dex', 'serve', '/etc/dex/dex.yaml'],
    environment: [omniVariables.oidcSecret, ...logIns(site).map((one) => one.variable)].map((name) => ({
      name,
    })),
    mounts: [file('./dex.yaml', '/etc/dex/dex.yaml'), ...certificates(input, 'login', '/etc/dex/tls')],
    network: { host: portOf(site.login, '5556'), container: '5556' },
    health: ['wget', '-q', '-O', '/dev/null', `http://${dexTelemetry}/healthz/ready`],
  };
}

function omni(input: HandoffInput, others: readonly Service[]): Service {
  return {
    ...none,
    name: 'omni',
    description: 'Omni',
    image: imageOf(input, 'siderolabs/omni', input.omniVersion),
    command: omniFlags(input),
    mounts: [
      { kind: 'volume', volume: omniVolumes.etcd, at: '/_out/etcd' },
      { kind: 'volume', volume: omniVolumes.sqlite, at: '/_out/sqlite' },
      file(secretFile(input, 'omni.asc'), '/omni.asc'),
      ...authority(input),
      ...certificates(input, 'omni', '/certs'),
    ],
    network: 'host',
    // Tunnels to machines.
    capabilities: ['NET_ADMIN'],
    devices: ['/dev/net/tun'],
    after: others.map(({ name }) => name),
  };
}

function imageOf(input: HandoffInput, repository: string, version: string | undefined): string {
  const name = imageName(input, 'ghcr.io', repository);
  const digest = input.imageDigests?.get(repository);
  return digest === undefined ? `${name}:${version ?? 'FILL-IN'}` : `${name}@${digest}`;
}

function file(path: string, at: string): Mount {
  return { kind: 'file', path, at, isShared: false };
}

function certificates(input: HandoffInput, service: SiteService, folder: string): readonly Mount[] {
  const { chain, key } = certificateFiles(input, service);
  return [file(chain, `${folder}/server-chain.pem`), file(key, `${folder}/server-key.pem`)];
}

/**
 * One more file beside the authorities of the image, so that these stay trusted: Go reads all of the folder besides its
 * one file. Source: go.dev/src/crypto/x509/root_unix.go, root_linux.go.
 */
function authority({ ca }: HandoffInput): readonly Mount[] {
  return ca === undefined ? [] : [file('./ca.pem', '/etc/ssl/certs/site-ca.pem')];
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
    `--siderolink-wireguard-bind-addr=0.0.0.0:${wireguardEndpoint(site)?.port ?? selfHostedWireguardPort}`,
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
