/** The services of a site: under which names each is reached, who logs in, and the variables that hold secrets. */
import { selfHostedWireguardPort } from '../egress.ts';
import { type Site, type SiteService, siteServices } from '../site.ts';

/**
 * DNS names and IP addresses of each service that speaks TLS, without ports and brackets: what its certificate must be
 * for. A registry without a scheme counts as one that does.
 */
export function serviceNames(site: Site): ReadonlyMap<SiteService, readonly string[]> {
  const urls: Readonly<Record<SiteService, readonly (string | undefined)[]>> = {
    omni: [site.omni, site.machineApi, site.kubernetesProxy],
    factory: [site.factory, site.pxe],
    login: [site.login],
    registry: [
      site.registry === undefined || site.registry.plainHttp === true
        ? undefined
        : `https://${site.registry.host}`,
    ],
    objectStore: [site.objectStore],
  };
  const names = new Map<SiteService, readonly string[]>();
  for (const service of siteServices) {
    const hosts = urls[service].flatMap((url) => (url?.startsWith('https:') === true ? [nameOf(url)] : []));
    // Machines that cannot resolve Omni's name reach it under the address of its tunnel.
    const tunnel =
      service === 'omni' && site.wireguard !== undefined ? [nameOf(`https://${site.wireguard}`)] : [];
    if (hosts.length > 0)
      names.set(
        service,
        [...new Set([...hosts, ...tunnel])].filter((name) => name !== ''),
      );
  }
  return names;
}

function nameOf(url: string): string {
  return (URL.parse(url)?.hostname ?? '').replace(/^\[|\]$/g, '');
}

/** Host, without brackets, and UDP port of Omni's WireGuard. */
export function wireguardEndpoint({
  wireguard,
}: Site): { readonly host: string; readonly port: number } | undefined {
  const [, host, port = String(selfHostedWireguardPort)] =
    /^(.+?)(?::([0-9]{1,5}))?$/.exec(wireguard ?? '') ?? [];
  return host === undefined ? undefined : { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** Variables of `.env`, and of omni.env, which `site init --pki` makes. */
export const omniVariables = {
  /** A UUID, made once and kept: an Omni that gets another one loses its machines. */
  accountId: 'OMNI_ACCOUNT_ID',
  /** What Omni and the log-in service share. */
  oidcSecret: 'OMNI_OIDC_SECRET',
  eulaName: 'OMNI_EULA_NAME',
  eulaEmail: 'OMNI_EULA_EMAIL',
} as const;

export interface LogIn {
  readonly email: string;
  /** The part before the @. */
  readonly username: string;
  /** The variable that holds the bcrypt hash of the password. */
  readonly variable: string;
}

/** The first users of a site: those it names, or one administrator. */
export function logIns({ omni, users }: Site): readonly LogIn[] {
  const host = (omni === undefined ? undefined : URL.parse(omni)?.hostname) ?? 'FILL-IN-omni.invalid';
  if (users === undefined || users.length === 0)
    return [{ email: `admin@${host}`, username: 'admin', variable: 'OMNI_ADMIN_PASSWORD_HASH' }];
  return users.map((email) => ({
    email,
    username: email.slice(0, email.indexOf('@')),
    variable: `OMNI_PASSWORD_HASH_${email.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`,
  }));
}
