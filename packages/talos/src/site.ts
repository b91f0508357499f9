/**
 * What only a site knows: where its services answer. The site file says it; what it leaves out becomes a placeholder
 * that nobody can overlook.
 */

export interface Site {
  /** URL of Omni. */
  readonly omni?: string;
  /** URL of Omni's machine API, which machines join by. */
  readonly machineApi?: string;
  /** URL of Omni's Kubernetes proxy. */
  readonly kubernetesProxy?: string;
  /** URL of the Image Factory as Omni, people and machines reach it. */
  readonly factory?: string;
  /** URL that PXE clients reach the factory, or the object store, under. */
  readonly pxe?: string;
  /** The registry as machines reach it. */
  readonly registry?: SiteRegistry;
  /** URL of dex of the hand-off, the log-in service (OIDC); absent with `oidc`. */
  readonly login?: string;
  /** The site's own log-in service, in place of dex. */
  readonly oidc?: OidcProvider;
  /** `ADDRESS:PORT` of Omni's WireGuard, UDP. */
  readonly wireguard?: string;
  /** Path of the CA's certificate, PEM. */
  readonly caFile?: string;
  /** URL of the object store: what load's --s3-endpoint is when it is not given. */
  readonly objectStore?: string;
  /** Certificates and keys of the services, by paths. */
  readonly certificates?: Readonly<Partial<Record<SiteService, CertificateFiles>>>;
  /** Path of the folder with omni.env, omni.asc and signing-key.key, which compose.yaml uses. */
  readonly secrets?: string;
  /** E-mail addresses of the first users, for Omni and for the log-in service of the hand-off. */
  readonly users?: readonly string[];
  /** Addresses of time servers. */
  readonly ntp?: readonly string[];
  /** Omni offers pre-releases of Talos too. */
  readonly talosPreReleases?: boolean;
}

/**
 * `[https://]HOST[:PORT][/PREFIX]`. With a scheme the site file says all of it; without one, scheme and a missing prefix
 * are those that load uses.
 */
export interface SiteRegistry {
  /** Host with port. */
  readonly host: string;
  /** Path in front of every repository, empty for none; undefined where the file does not say. */
  readonly prefix: string | undefined;
  /** Undefined where the file does not say. */
  readonly plainHttp: boolean | undefined;
  /** FILE:LINE:COLUMN, for messages. */
  readonly place: string;
}

/** An OpenID Connect provider that has a client for Omni, with the redirect URI `<omni>/oidc/consume`. */
export interface OidcProvider {
  /** URL, to the letter as the provider calls itself: Omni compares it. Source: OpenID Connect Discovery 1.0, 4.3. */
  readonly issuer: string;
  readonly clientId: string;
  /** Path of the file that holds the client's secret. */
  readonly clientSecretFile: string;
}

/** Services that have a certificate. */
export const siteServices = ['omni', 'factory', 'login', 'registry', 'objectStore'] as const;
export type SiteService = (typeof siteServices)[number];

/** Paths; relative ones begin at the folder of the site file. */
export interface CertificateFiles {
  /** PEM: the certificate, then those who issued it. */
  readonly chain: string;
  /** PEM: its private key. */
  readonly key: string;
}
