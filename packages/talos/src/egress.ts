/**
 * Which hosts the connected side must reach, and which ports are open inside.
 * Sources: siderolabs/docs "Egress domains" of Omni and of Talos, run-omni-airgapped.mdx; docker/docs
 * content/manuals/desktop/setup/allow-list.md; openshift/openshift-docs modules/configuring-firewall.adoc (quay.io).
 */

export interface EgressHost {
  /** A host, or `*.` and a suffix for every host below it. */
  readonly pattern: string;
  /** TCP. */
  readonly port: number;
  readonly why: string;
}

/** Host and port as a policy or a person writes them: the port only when it is not 443. */
export function hostPattern({ pattern, port }: EgressHost): string {
  return port === 443 ? pattern : `${pattern}:${port}`;
}

export interface EgressNeeds {
  /** Anything from ghcr.io: Omni, the Image Factory and its sources, the kubelet. */
  readonly ghcr: boolean;
  /** Media, schematics or installers from factory.talos.dev. */
  readonly factory: boolean;
  /** Registries of all images, as references name them: `docker.io`, `registry.example.com:5000`. */
  readonly registries: readonly string[];
}

type Row = readonly [pattern: string, why: string];

const googleRows: readonly Row[] = [
  ['*.pkg.dev', 'blobs that registry.k8s.io and gcr.io redirect to'],
  ['storage.googleapis.com', 'blobs that registry.k8s.io and gcr.io redirect to'],
];

/** What a registry needs, itself included. */
const rowsOfRegistry: ReadonlyMap<string, readonly Row[]> = new Map<string, readonly Row[]>([
  [
    'ghcr.io',
    [
      ['ghcr.io', 'images and their tokens'],
      ['*.githubusercontent.com', 'blobs that ghcr.io redirects to'],
    ],
  ],
  [
    'factory.talos.dev',
    [
      ['factory.talos.dev', 'media, schematics and installer images'],
      ['*.factory.talos.dev', 'builds of the Image Factory'],
      ['*.r2.cloudflarestorage.com', 'media that factory.talos.dev redirects to'],
    ],
  ],
  [
    'registry.k8s.io',
    [
      ['registry.k8s.io', 'Kubernetes images'],
      ...googleRows,
      ['*.s3.dualstack.us-east-1.amazonaws.com', 'blobs that registry.k8s.io redirects to'],
    ],
  ],
  ['gcr.io', [['gcr.io', 'images (etcd of Talos to 1.11)'], ...googleRows]],
  [
    'docker.io',
    [
      ['registry-1.docker.io', 'images of docker.io'],
      ['auth.docker.io', 'tokens for docker.io'],
      ['production.cloudflare.docker.com', 'blobs that docker.io redirects to'],
      ['production.cloudfront.docker.com', 'blobs that docker.io redirects to'],
      [
        'docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com',
        'blobs that docker.io redirects to',
      ],
    ],
  ],
  [
    'quay.io',
    [
      ['quay.io', 'images of quay.io'],
      ['*.quay.io', 'blobs that quay.io redirects to'],
    ],
  ],
]);

const https = 443;

function rowsOf(registry: string): readonly EgressHost[] {
  const known = rowsOfRegistry.get(registry);
  if (known !== undefined) return known.map(([pattern, why]) => ({ pattern, port: https, why }));
  const [, host = registry, port] = /^(.+):([0-9]{1,5})$/.exec(registry) ?? [];
  return [{ pattern: host, port: port === undefined ? https : Number(port), why: `images of ${host}` }];
}

/** Exactly what the needs ask for, each host and port once. */
export function egressHosts({ ghcr, factory, registries }: EgressNeeds): readonly EgressHost[] {
  const all = [...(ghcr ? ['ghcr.io'] : []), ...(factory ? ['factory.talos.dev'] : []), ...registries];
  const hosts = new Map<string, EgressHost>();
  for (const row of all.flatMap(rowsOf)) {
    const key = `${row.pattern}:${row.port}`;
    if (!hosts.has(key)) hosts.set(key, row);
  }
  return [...hosts.values()];
}

/**
 * What machines may reach outside where a site lets them: nothing of it is needed with a discovery service and a time
 * server inside. Source: siderolabs/docs "Egress domains" of Talos.
 */
export function nodeHosts(): readonly (EgressHost & { readonly protocol: 'tcp' | 'udp' })[] {
  return [
    {
      pattern: 'discovery.talos.dev',
      port: https,
      protocol: 'tcp',
      why: 'public discovery service; Omni has one of its own',
    },
    {
      pattern: 'time.cloudflare.com',
      port: 123,
      protocol: 'udp',
      why: 'time, unless machines are given another server',
    },
  ];
}

export interface InsidePort {
  readonly from: 'node';
  readonly to: 'omni' | 'factory' | 'registry' | 'dns' | 'ntp';
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** Needed with Omni as a service too, not only where the site runs Omni itself. */
  readonly saas: boolean;
  readonly why: string;
}

/** As the documentation says. */
const defaultWireguardPort = 51820;
/** What a self-hosted Omni binds unless it is told otherwise. */
export const selfHostedWireguardPort = 50180;

/** What machines open connections to. @param options ports that differ from the guide's; wireguardPort: UDP, default 51820 */
export function insidePorts(
  options: {
    readonly wireguardPort?: number;
    readonly omni?: number;
    readonly machineApi?: number;
    readonly factory?: number;
    readonly registry?: number;
  } = {},
): readonly InsidePort[] {
  const { wireguardPort = defaultWireguardPort, omni = https, machineApi = 8090 } = options;
  const { factory = 8080, registry = 5000 } = options;
  const row = (
    to: InsidePort['to'],
    port: number,
    protocol: InsidePort['protocol'],
    saas: boolean,
    why: string,
  ): InsidePort => ({ from: 'node', to, port, protocol, saas, why });
  return [
    row('omni', omni, 'tcp', true, 'HTTPS API'),
    row('omni', wireguardPort, 'udp', true, 'WireGuard (SideroLink)'),
    row('omni', machineApi, 'tcp', false, 'machine API: joining'),
    row('factory', factory, 'tcp', false, 'installers and media'),
    row('registry', registry, 'tcp', false, 'images'),
    row('dns', 53, 'udp', true, 'names'),
    row('dns', 53, 'tcp', true, 'names, long answers'),
    row('ntp', 123, 'udp', true, 'time'),
  ];
}
