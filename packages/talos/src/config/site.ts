/**
 * What only a site knows: where its services answer. A small YAML file says it; what it leaves out becomes a
 * placeholder that nobody can overlook.
 */
import { quoted, TalosError } from '../errors.ts';
import { Composer } from '../yaml/composer.ts';
import { constructAny } from '../yaml/constructor.ts';
import { Reader } from '../yaml/reader.ts';
import { YamlMap, type YamlValue } from '../yaml/value.ts';

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
  /** `HOST[:PORT][/PREFIX]` of the registry as machines reach it. */
  readonly registry?: string;
  /** URL of the log-in service (OIDC). */
  readonly login?: string;
  /** `ADDRESS:PORT` of Omni's WireGuard, UDP. */
  readonly wireguard?: string;
  /** Path of the CA's certificate, PEM. */
  readonly caFile?: string;
  /** Addresses of time servers. */
  readonly ntp?: readonly string[];
}

const urls = ['omni', 'machineApi', 'kubernetesProxy', 'factory', 'pxe', 'login'] as const;
const texts = ['registry', 'wireguard', 'caFile'] as const;
const members: readonly string[] = [...urls, ...texts, 'ntp'];
const maxSiteBytes = 64 * 1024;

/** @throws BAD_YAML naming the member that cannot be used */
export function parseSite(input: string | Uint8Array): Site {
  const root = new Composer(new Reader(input, maxSiteBytes)).document();
  const value = root === undefined ? undefined : constructAny(root);
  if (!(value instanceof YamlMap))
    throw new TalosError('BAD_YAML', 'site: a mapping is expected, such as `omni: https://omni.site`');
  const fields = new Map(value.entries().map(([key, member]) => [String(key), member]));
  for (const key of fields.keys()) {
    if (!members.includes(key)) {
      throw new TalosError(
        'BAD_YAML',
        `site: no member is called ${quoted(key)}; there are ${members.join(', ')}`,
      );
    }
  }
  const site: Record<string, string | readonly string[]> = {};
  for (const name of urls) {
    const text = textOf(name, fields.get(name));
    if (text !== undefined) site[name] = checkUrl(name, text);
  }
  for (const name of texts) {
    const text = textOf(name, fields.get(name));
    if (text !== undefined) site[name] = text;
  }
  const ntp = fields.get('ntp');
  if (ntp !== undefined && ntp !== null) {
    if (!Array.isArray(ntp)) throw new TalosError('BAD_YAML', 'site: ntp must be a list of addresses');
    site['ntp'] = (ntp as readonly YamlValue[]).map((one) => textOf('ntp', one) ?? '');
  }
  return site;
}

function textOf(name: string, value: YamlValue | undefined): string | undefined {
  if (value === undefined || value === null) return undefined;
  // Nothing that could end a line of a script or of YAML.
  if (typeof value === 'string' && /^[\x21-\x7e]{1,512}$/.test(value) && !/["'`$\\]/.test(value))
    return value;
  throw new TalosError('BAD_YAML', `site: ${name} must be plain text without spaces and quotes`);
}

function checkUrl(name: string, text: string): string {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '') {
    return text.replace(/\/+$/, '');
  }
  throw new TalosError(
    'BAD_YAML',
    `site: ${name} must be a URL such as https://${name.toLowerCase()}.site, not ${quoted(text)}`,
  );
}

/** A value that must be filled in by hand; reserved names that resolve nowhere. Source: RFC 2606. */
export function orPlaceholder(value: string | undefined, placeholder: string): string {
  return value ?? placeholder;
}

/** Host and port of a URL. */
export function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}

/** The first user of a site with a log-in of its own: dex and Omni must agree on it. */
export function adminEmail({ omni }: Site): string {
  return `admin@${(omni === undefined ? undefined : URL.parse(omni)?.hostname) ?? 'FILL-IN-omni.invalid'}`;
}

/** A variable that compose fills in from `.env`. */
export function variable(name: string): string {
  return `$\{${name}}`;
}
