/** Input of the hand-off files: what the site file says and what was loaded; and the names made from it. */
import type { CertificateFiles, Site, SiteService } from '../site.ts';

interface HandoffRegistry {
  /** Host with port, as machines reach it. */
  readonly host: string;
  /** Path in front of every repository, or empty. */
  readonly prefix: string;
  readonly plainHttp: boolean;
  /** Repositories have the host they came from in their path. */
  readonly keepHost: boolean;
  /** Whether a pull needs a log-in; undefined where that was not tried. */
  readonly needsLogIn?: boolean | undefined;
  /** Whether installers that the site's Image Factory builds can be read without one; undefined where not tried. */
  readonly opensInstallers?: boolean | undefined;
}

export interface HandoffBucket {
  readonly bucket: string;
  /** URL. */
  readonly endpoint: string;
  readonly region: string;
}

/** A schematic of the public Image Factory that was loaded, in one Talos version. */
export interface CarriedSchematic {
  /** 64 hex. */
  readonly id: string;
  /** Of Talos, with its `v`. */
  readonly version: string;
  readonly hasMedia: boolean;
  /** First parts of the repositories of its installers: `metal-installer`. */
  readonly installers: readonly string[];
}

export interface HandoffInput {
  /** Absolute path of the folder that the files are written to. */
  readonly folder: string;
  /** Its paths begin at the folder of the hand-off. */
  readonly site: Site;
  readonly registry: HandoffRegistry;
  readonly bucket?: HandoffBucket;
  /** PEM of the site's authority, when it has one of its own. */
  readonly ca?: string | undefined;
  /** What was loaded, such as `v1.10.4`; undefined when it was not. */
  readonly omniVersion?: string | undefined;
  readonly factoryVersion?: string | undefined;
  readonly dexVersion?: string | undefined;
  /** Digests of the images of these versions in the registry, by their repositories outside: `siderolabs/omni`. */
  readonly imageDigests?: ReadonlyMap<string, string>;
  /** The newest last. */
  readonly talosVersions: readonly string[];
  readonly kubernetesVersions: readonly string[];
  /** Registries that images came from, such as `quay.io`. */
  readonly imageHosts: readonly string[];
  /** Tags of the registry that stand for an index of the carried platforms, not for the one that was signed. */
  readonly trimmed?: readonly string[];
  /** Names of earlier bundles that the loaded one withdraws. */
  readonly withdraws?: readonly string[];
  /** The newest version first of each schematic. */
  readonly carried?: readonly CarriedSchematic[];
  /** Talos versions whose sources for an Image Factory were loaded. */
  readonly sources?: readonly string[];
  /** Installers of the public factory were loaded. */
  readonly hasInstallers: boolean;
  /** PEM of the key that images were signed with here. */
  readonly signingKey?: string;
}

/**
 * Returns the name of an image in the site's registry, without tag.
 * @param host the registry that the image came from
 */
export function imageName({ registry }: HandoffInput, host: string, repository: string): string {
  const parts = [registry.host, registry.prefix, ...(registry.keepHost ? [host] : []), repository];
  return parts.filter((part) => part !== '').join('/');
}

/** A value that must be filled in by hand; reserved names that resolve nowhere. Source: RFC 2606. */
export function orPlaceholder(value: string | undefined, placeholder: string): string {
  return value ?? placeholder;
}

/** Host and port of a URL. */
export function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}

/** A variable that compose fills in from `.env`. */
export function variable(name: string): string {
  return `$\{${name}}`;
}

/** Where a service's certificate and key are; beside these files unless the site file names others. */
export function certificateFiles({ site }: HandoffInput, service: SiteService): CertificateFiles {
  return site.certificates?.[service] ?? { chain: './server-chain.pem', key: './server-key.pem' };
}

/** Path of a file that holds a secret. */
export function secretFile({ site }: HandoffInput, name: string): string {
  return `${site.secrets ?? '.'}/${name}`;
}
