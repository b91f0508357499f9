/**
 * What only a site knows: where its services answer. A small YAML file says it; what it leaves out becomes a
 * placeholder that nobody can overlook.
 */
import { nearestName, quoted } from './errors.ts';
import { parseYamlFile, type YamlFile } from './yaml/strict.ts';

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
const keys: readonly string[] = [...urls, ...texts, 'ntp'];

/**
 * @param input what a site.yaml holds
 * @param file name for messages
 * @throws BAD_YAML with FILE:LINE:COLUMN of the key or value that cannot be used
 */
export function parseSite(input: string | Uint8Array, file: string): Site {
  const source = parseYamlFile(input, file);
  const { value } = source;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw source.error([], 'a mapping is expected, such as `omni: https://omni.site`');
  }
  const fields = new Map<string, unknown>(Object.entries(value));
  for (const key of fields.keys()) {
    if (keys.includes(key)) continue;
    const nearest = nearestName(key, keys);
    const advice = nearest === undefined ? `known keys are ${keys.join(', ')}` : `did you mean ${nearest}?`;
    throw source.errorAtKey([key], `unknown key ${quoted(key)}; ${advice}`);
  }
  const site: Record<string, string | readonly string[]> = {};
  for (const name of urls) {
    const text = textOf(source, [name], fields.get(name));
    if (text !== undefined) site[name] = checkUrl(source, name, text);
  }
  for (const name of texts) {
    const text = textOf(source, [name], fields.get(name));
    if (text !== undefined) site[name] = text;
  }
  const ntp = fields.get('ntp') ?? undefined;
  if (ntp !== undefined) {
    if (!Array.isArray(ntp))
      throw source.error(['ntp'], 'ntp must be a list of addresses, such as [10.0.0.1]');
    site['ntp'] = ntp.map((one, i) => textOf(source, ['ntp', i], one) ?? '');
  }
  return site;
}

function textOf(source: YamlFile, path: readonly [string, number?], value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  // Nothing that could end a line of a script or of YAML.
  if (typeof value === 'string' && /^[\x21-\x7e]{1,512}$/.test(value) && !/["'`$\\]/.test(value)) {
    return value;
  }
  throw source.error(
    path.filter((key) => key !== undefined),
    `${path[0]} must be plain text without spaces and quotes`,
  );
}

function checkUrl(source: YamlFile, name: string, text: string): string {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '') {
    return text.replace(/\/+$/, '');
  }
  throw source.error([name], `${name} must be a URL such as https://${name.toLowerCase()}.site`);
}
