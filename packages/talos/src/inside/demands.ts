/**
 * Who connects to the services of a site, as a table: which URL, who asks, where the one who asks is given the site's
 * authority and credentials, and what it demands of the URL. It is about these programs, not about the client of this
 * one, which may be content with less. The site file, load, the hand-off and `egress check --inside` read it.
 */
import type { Site } from '../site.ts';
import { type ReachedRegistry, registryUrl } from './registry.ts';

export type Subject = 'omni' | 'machineApi' | 'kubernetesProxy' | 'factory' | 'pxe' | 'login' | 'registry';
type Consumer =
  | 'Omni'
  | 'Talos'
  | 'containerd'
  | 'image-factory'
  | 'docker'
  | 'omnictl'
  | 'kubectl'
  | 'iPXE'
  | 'browsers';
type Requirement = 'https' | 'https-or-local' | 'http' | 'http-or-name' | 'no-path';

interface Demand {
  readonly needs: Requirement;
  /**
   * `refused`: the consumer does not start; `fails`: what a site needs does not work; `warns`: there is another way;
   * `limits`: only something that the hand-off does not use is missing.
   */
  readonly severity: 'refused' | 'fails' | 'warns' | 'limits';
  /** What happens otherwise, and what to do. */
  readonly otherwise: string;
}

interface Row {
  readonly of: Subject;
  readonly by: Consumer;
  /** Where the consumer is given the authority that issued the certificate; undefined where it can be given none. */
  readonly authority: string | undefined;
  /** Where it is given a log-in, for services that may ask for one. */
  readonly logIn?: string;
  readonly demands?: readonly Demand[];
}

const systemStore = 'trust store of the system';
const mounted = 'compose.yaml or quadlets';
const dockerLogIn = '/root/.docker/config.json in its container';

/**
 * Sources, by rows: siderolabs/omni internal/pkg/registry/registry.go, internal/pkg/config/schema.json,
 * internal/backend/server.go; client/pkg/omnictl/internal/download/download.go; internal/backend/installimage;
 * siderolabs/talos internal/pkg/containers/image/resolver.go; siderolabs/image-factory
 * internal/frontend/http/registry.go (handleImageProxy, craftRedirectURL, proxyRegistryRequest), cmd/service.go;
 * google/go-containerregistry pkg/name/registry.go; W3C Secure Contexts; ipxe.org/crypto; docs.docker.com.
 */
const rows: readonly Row[] = [
  {
    of: 'omni',
    by: 'browsers',
    authority: systemStore,
    demands: [
      {
        needs: 'https',
        severity: 'fails',
        otherwise:
          'browsers sign requests to Omni with a key that they keep for https:// pages only; use https://',
      },
    ],
  },
  { of: 'omni', by: 'omnictl', authority: systemStore },
  {
    of: 'machineApi',
    by: 'Talos',
    authority: 'installation media, then the patch',
    logIn: 'join token on the media',
    demands: [
      {
        needs: 'https',
        severity: 'fails',
        otherwise:
          'Omni of the hand-off serves it with its certificate, so machines could not join; use https://',
      },
    ],
  },
  {
    of: 'kubernetesProxy',
    by: 'kubectl',
    authority: systemStore,
    logIn: 'plug-in oidc-login',
    demands: [
      {
        needs: 'https',
        severity: 'refused',
        otherwise: 'Omni refuses a Kubernetes proxy without TLS, and does not start; use https://',
      },
    ],
  },
  {
    of: 'factory',
    by: 'Omni',
    authority: mounted,
    demands: [
      {
        needs: 'no-path',
        severity: 'fails',
        otherwise:
          'Omni names installers by host and port of the factory alone; give the factory a host name or a port of its own',
      },
    ],
  },
  {
    of: 'factory',
    by: 'omnictl',
    authority: systemStore,
    demands: [
      {
        needs: 'https',
        severity: 'warns',
        otherwise:
          'omnictl download speaks HTTPS whatever the URL says; use https:// for the factory, and plain HTTP for PXE alone',
      },
    ],
  },
  {
    of: 'factory',
    by: 'Talos',
    authority: 'TrustedRootsConfig of the patch',
    demands: [
      {
        needs: 'https',
        severity: 'warns',
        otherwise:
          'machines pull installers by HTTPS unless their configuration says otherwise; air-gap-patch.yaml does, for machines that have it',
      },
    ],
  },
  { of: 'factory', by: 'browsers', authority: systemStore },
  {
    of: 'pxe',
    by: 'iPXE',
    authority: undefined,
    demands: [
      {
        needs: 'http',
        severity: 'warns',
        otherwise:
          'iPXE trusts no authority that it was not built with; use http://, or an iPXE built with the authority of this site',
      },
    ],
  },
  { of: 'login', by: 'Omni', authority: mounted, logIn: 'secret of its client, in omni.env or .env' },
  {
    of: 'login',
    by: 'browsers',
    authority: systemStore,
    demands: [
      {
        needs: 'https',
        severity: 'warns',
        otherwise:
          'passwords cross the network readable, and dex of the hand-off answers HTTPS only; use https://',
      },
    ],
  },
  {
    of: 'registry',
    by: 'Omni',
    authority: mounted,
    logIn: dockerLogIn,
    demands: [
      {
        needs: 'https-or-local',
        severity: 'fails',
        otherwise:
          'Omni speaks plain HTTP to private IPv4 addresses and localhost alone: it could not list the Kubernetes versions, and would offer no Kubernetes and no Talos; give the registry a certificate (serve --cert --key, or that of your registry), or use its address in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16',
      },
    ],
  },
  {
    of: 'registry',
    by: 'containerd',
    authority: 'RegistryTLSConfig of the patch',
    logIn: 'RegistryAuthConfig of the patch',
  },
  {
    of: 'registry',
    by: 'image-factory',
    authority: mounted,
    logIn: `${dockerLogIn}; none for installers`,
    demands: [
      {
        needs: 'http-or-name',
        severity: 'warns',
        otherwise:
          'an Image Factory hands installers on over plain HTTP where the registry is localhost or a private address, whatever the registry speaks; give the registry a host name',
      },
      {
        needs: 'http',
        severity: 'limits',
        otherwise:
          'an Image Factory does not hand on siderolabs/* images of a registry with TLS; machines pull them from the registry itself, as the patches of the hand-off say',
      },
    ],
  },
  {
    of: 'registry',
    by: 'docker',
    authority: '/etc/docker/certs.d/HOST:PORT/ca.crt',
    logIn: 'docker login, podman login',
  },
];

/** Ports of the vendor's guide, for URLs that are derived from the one of Omni. */
const machineApiPort = 8090;
const kubernetesProxyPort = 8100;

/**
 * The URL of a service as those who connect to it use it.
 * @param registry as machines and Omni reach it; undefined to leave it out
 */
export function siteUrl(site: Site, subject: Subject, registry?: ReachedRegistry): string | undefined {
  switch (subject) {
    case 'registry':
      return registry && registryUrl(registry);
    case 'login':
      return site.oidc?.issuer ?? site.login;
    case 'machineApi':
      return site.machineApi ?? withPort(site.omni, machineApiPort);
    case 'kubernetesProxy':
      return site.kubernetesProxy ?? withPort(site.omni, kubernetesProxyPort);
    default:
      return site[subject];
  }
}

function withPort(url: string | undefined, port: number): string | undefined {
  const parsed = url === undefined ? null : URL.parse(url);
  return parsed === null ? undefined : `${parsed.protocol}//${parsed.hostname}:${port}`;
}

export interface Connection {
  readonly subject: Subject;
  readonly consumer: Consumer;
  readonly url: string;
  readonly port: number;
  /** Where the consumer is given the site's authority; undefined for plain HTTP, and where it can be given none. */
  readonly authority: string | undefined;
  /** Where it is given a log-in; undefined where the service asks for none. */
  readonly logIn: string | undefined;
}

/** Who connects where, for the URLs that are known. @param registry as machines and Omni reach it */
export function connections(site: Site, registry?: ReachedRegistry): readonly Connection[] {
  return rows.flatMap(({ of, by, authority, logIn }) => {
    const text = siteUrl(site, of, registry);
    const url = text === undefined ? null : URL.parse(text);
    if (text === undefined || url === null) return [];
    const isTls = url.protocol === 'https:';
    const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
    const there = isTls ? authority?.replace('HOST:PORT', url.host) : undefined;
    return [{ subject: of, consumer: by, url: text, port, authority: there, logIn }];
  });
}

export interface UnmetDemand {
  readonly subject: Subject;
  readonly consumer: Consumer;
  readonly severity: Demand['severity'];
  /** One line: URL, what happens, what to do. */
  readonly problem: string;
}

/**
 * @param registry as machines and Omni reach it; undefined to leave it out
 * @param selfHosted whether the site runs an Image Factory of its own; default true
 */
export function unmetDemands(
  site: Site,
  registry?: ReachedRegistry,
  { selfHosted = true }: { readonly selfHosted?: boolean } = {},
): readonly UnmetDemand[] {
  return rows.flatMap(({ of, by, demands = [] }) => {
    const text = siteUrl(site, of, registry);
    const url = text === undefined ? null : URL.parse(text);
    if (text === undefined || url === null || (by === 'image-factory' && !selfHosted)) return [];
    return demands.flatMap(({ needs, severity, otherwise }) =>
      isMet[needs](url)
        ? []
        : [{ subject: of, consumer: by, severity, problem: `${of} ${text}: ${otherwise}` }],
    );
  });
}

const isMet: Readonly<Record<Requirement, (url: URL) => boolean>> = {
  https: (url) => url.protocol === 'https:',
  'https-or-local': (url) => url.protocol === 'https:' || isLocal(url),
  http: (url) => url.protocol === 'http:',
  'http-or-name': (url) => url.protocol === 'http:' || !isLocal(url),
  'no-path': (url) => url.pathname === '/',
};

/** What go-containerregistry speaks plain HTTP to unasked. Source: its pkg/name/registry.go, Scheme. */
function isLocal({ hostname, port }: URL): boolean {
  if (hostname === '127.0.0.1' || hostname === '[::1]' || hostname.endsWith('.localhost')) return true;
  if (hostname === 'localhost') return port !== '';
  const [, a, b] = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(hostname) ?? [];
  return a === '10' || (a === '192' && b === '168') || (a === '172' && Number(b) >= 16 && Number(b) <= 31);
}
