/**
 * What those who use a site's URLs demand of them, as a table: which URL, who asks, what he demands, and what happens
 * otherwise. It is about these programs, not about the client of this one, which may be content with less.
 */
import type { Site } from '../site.ts';
import { type ReachedRegistry, registryUrl } from './registry.ts';

type Subject = 'omni' | 'machineApi' | 'kubernetesProxy' | 'factory' | 'pxe' | 'login' | 'registry';
type Consumer = 'Omni' | 'Talos' | 'omnictl' | 'iPXE' | 'browsers';
type Requirement = 'https' | 'https-or-local' | 'http' | 'no-path';

interface Demand {
  readonly of: Subject;
  readonly by: Consumer;
  readonly needs: Requirement;
  /** `refused`: the consumer does not start; `fails`: what a site needs does not work; `warns`: there is another way. */
  readonly severity: 'refused' | 'fails' | 'warns';
  /** What happens otherwise, and what to do. */
  readonly otherwise: string;
}

/**
 * Sources, by rows: siderolabs/omni internal/pkg/registry/registry.go and internal/pkg/config/schema.json;
 * client/pkg/omnictl/internal/download/download.go; internal/backend/installimage; siderolabs/talos
 * internal/pkg/containers/image/resolver.go; W3C Secure Contexts; ipxe.org/crypto.
 */
const demands: readonly Demand[] = [
  {
    of: 'registry',
    by: 'Omni',
    needs: 'https-or-local',
    severity: 'fails',
    otherwise:
      'Omni speaks plain HTTP to private IPv4 addresses and localhost alone: it could not list the Kubernetes versions, and would offer no Kubernetes and no Talos; give the registry a certificate (serve --cert --key, or that of your registry), or use its address in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16',
  },
  {
    of: 'kubernetesProxy',
    by: 'Omni',
    needs: 'https',
    severity: 'refused',
    otherwise: 'Omni does not start with a Kubernetes proxy URL that is not https://',
  },
  {
    of: 'omni',
    by: 'browsers',
    needs: 'https',
    severity: 'fails',
    otherwise:
      'browsers sign requests to Omni with a key that they keep for https:// pages only; use https://',
  },
  {
    of: 'machineApi',
    by: 'Talos',
    needs: 'https',
    severity: 'fails',
    otherwise:
      'Omni of the hand-off serves it with its certificate, so machines could not join; use https://',
  },
  {
    of: 'login',
    by: 'browsers',
    needs: 'https',
    severity: 'warns',
    otherwise:
      'passwords cross the network readable, and dex of the hand-off answers HTTPS only; use https://',
  },
  {
    of: 'factory',
    by: 'omnictl',
    needs: 'https',
    severity: 'warns',
    otherwise:
      'omnictl download speaks HTTPS whatever the URL says; use https:// for the factory, and plain HTTP for PXE alone',
  },
  {
    of: 'factory',
    by: 'Talos',
    needs: 'https',
    severity: 'warns',
    otherwise:
      'machines pull installers by HTTPS unless their configuration says otherwise; air-gap-patch.yaml does, for machines that have it',
  },
  {
    of: 'factory',
    by: 'Omni',
    needs: 'no-path',
    severity: 'fails',
    otherwise:
      'Omni names installers by host and port of the factory alone; give the factory a host name or a port of its own',
  },
  {
    of: 'pxe',
    by: 'iPXE',
    needs: 'http',
    severity: 'warns',
    otherwise:
      'iPXE trusts no authority that it was not built with; use http://, or an iPXE built with the authority of this site',
  },
];

export interface UnmetDemand {
  readonly subject: Subject;
  readonly consumer: Consumer;
  readonly severity: Demand['severity'];
  /** One line: URL, what happens, what to do. */
  readonly problem: string;
}

/** @param registry as machines and Omni reach it; undefined to leave it out */
export function unmetDemands(site: Site, registry?: ReachedRegistry): readonly UnmetDemand[] {
  return demands.flatMap(({ of, by, needs, severity, otherwise }) => {
    const text = of === 'registry' ? registry && registryUrl(registry) : site[of];
    const url = text === undefined ? null : URL.parse(text);
    if (text === undefined || url === null || isMet[needs](url)) return [];
    return [{ subject: of, consumer: by, severity, problem: `${of} ${text}: ${otherwise}` }];
  });
}

const isMet: Readonly<Record<Requirement, (url: URL) => boolean>> = {
  https: (url) => url.protocol === 'https:',
  'https-or-local': (url) => url.protocol === 'https:' || isLocal(url),
  http: (url) => url.protocol === 'http:',
  'no-path': (url) => url.pathname === '/',
};

/** What go-containerregistry speaks plain HTTP to unasked. Source: its pkg/name/registry.go, Scheme. */
function isLocal({ hostname, port }: URL): boolean {
  if (hostname === '127.0.0.1' || hostname === '[::1]' || hostname.endsWith('.localhost')) return true;
  if (hostname === 'localhost') return port !== '';
  const [, a, b] = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(hostname) ?? [];
  return a === '10' || (a === '192' && b === '168') || (a === '172' && Number(b) >= 16 && Number(b) <= 31);
}
