/** Reads a site.yaml: strict about keys and values, and about what programs refuse that its URLs are for. */
import { nearestName, quoted } from '../errors.ts';
import {
  type CertificateFiles,
  type OidcProvider,
  type Site,
  type SiteRegistry,
  type SiteService,
  siteServices,
} from '../site.ts';
import { parseYamlFile, type YamlFile } from '../yaml/strict.ts';
import { unmetDemands } from './demands.ts';

const urls = ['omni', 'machineApi', 'kubernetesProxy', 'factory', 'pxe', 'login', 'objectStore'] as const;
const texts = ['wireguard', 'caFile', 'secrets'] as const;
const lists = {
  ntp: { what: 'addresses', example: '[10.0.0.1]' },
  users: { what: 'e-mail addresses', example: '[admin@omni.site]' },
} as const;
const switches = ['talosPreReleases'] as const;
const keys: readonly string[] = [
  ...urls,
  'oidc',
  'registry',
  ...texts,
  'certificates',
  ...Object.keys(lists),
  ...switches,
];

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
  refuseUnknown(source, [], fields, keys);
  const site: Record<string, Site[keyof Site]> = {};
  for (const name of urls) {
    const text = textOf(source, [name], fields.get(name));
    if (text !== undefined) site[name] = checkUrl(source, [name], text);
  }
  for (const name of texts) {
    const text = textOf(source, [name], fields.get(name));
    if (text !== undefined) site[name] = text;
  }
  const oidc = fields.get('oidc') ?? undefined;
  if (oidc !== undefined) {
    if (site['login'] !== undefined)
      throw source.error(
        ['login'],
        'login is dex of the hand-off; leave it out where oidc names your own provider',
      );
    site['oidc'] = oidcOf(source, oidc);
  }
  const registry = textOf(source, ['registry'], fields.get('registry'));
  if (registry !== undefined) site['registry'] = registryOf(source, registry);
  for (const [name, { what, example }] of Object.entries(lists)) {
    const list = fields.get(name) ?? undefined;
    if (list === undefined) continue;
    if (!Array.isArray(list))
      throw source.error([name], `${name} must be a list of ${what}, such as ${example}`);
    site[name] = list.map((one, i) => textOf(source, [name, i], one) ?? '');
  }
  for (const name of switches) {
    const value = fields.get(name) ?? undefined;
    if (value === undefined) continue;
    if (typeof value !== 'boolean') throw source.error([name], `${name} must be true or false`);
    site[name] = value;
  }
  const certificates = fields.get('certificates') ?? undefined;
  if (certificates !== undefined) site['certificates'] = certificatesOf(source, certificates);
  for (const [i, email] of (site['users'] as readonly string[] | undefined)?.entries() ?? []) {
    if (!/^[^@]+@[^@]+$/.test(email))
      throw source.error(['users', i], 'users must be e-mail addresses, such as admin@omni.site');
  }
  const refused = unmetDemands(site).find(({ severity }) => severity === 'refused');
  if (refused === undefined) return site;
  // A URL that the file does not name is a port of omni.
  const isNamed = site[refused.subject] !== undefined;
  throw source.error(
    [isNamed ? refused.subject : 'omni'],
    isNamed ? refused.problem : `omni makes ${refused.problem}`,
  );
}

function registryOf(source: YamlFile, text: string): SiteRegistry {
  const [, scheme, host = '', path = ''] = /^(?:(https?):\/\/)?([^/]+)((?:\/.*)?)$/.exec(text) ?? [];
  const prefix = path.replaceAll(/^\/+|\/+$/g, '');
  const isHost = /^(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/.test(host);
  const isPrefix = prefix === '' || /^[a-z0-9]+(?:(?:[._]|__|-+|\/)[a-z0-9]+)*$/.test(prefix);
  if (!isHost || !isPrefix) {
    throw source.error(
      ['registry'],
      'registry must be [https://]HOST[:PORT][/PREFIX], such as https://registry.site:5000',
    );
  }
  return {
    host,
    prefix: prefix === '' && scheme === undefined ? undefined : prefix,
    plainHttp: scheme === undefined ? undefined : scheme === 'http',
    place: source.placeOf(['registry']),
  };
}

function oidcOf(source: YamlFile, value: unknown): OidcProvider {
  const fields = mappingOf(source, ['oidc'], value, ['issuer', 'clientId', 'clientSecretFile']);
  const required = (name: string, example: string): string => {
    const text = textOf(source, ['oidc', name], fields.get(name));
    if (text !== undefined) return text;
    throw source.error(['oidc'], `oidc needs ${name}, such as ${name}: ${example}`);
  };
  const issuer = required('issuer', 'https://sso.site/realms/site');
  checkUrl(source, ['oidc', 'issuer'], issuer);
  return {
    issuer,
    clientId: required('clientId', 'omni'),
    clientSecretFile: required('clientSecretFile', 'oidc-secret.txt'),
  };
}

function certificatesOf(source: YamlFile, value: unknown): NonNullable<Site['certificates']> {
  const services = mappingOf(source, ['certificates'], value, siteServices);
  const certificates: Partial<Record<SiteService, CertificateFiles>> = {};
  for (const service of siteServices) {
    const files = services.get(service) ?? undefined;
    if (files === undefined) continue;
    const path = ['certificates', service];
    const named = mappingOf(source, path, files, ['chain', 'key']);
    const [chain, key] = (['chain', 'key'] as const).map((name) =>
      textOf(source, [...path, name], named.get(name)),
    );
    if (chain === undefined || key === undefined)
      throw source.error(
        path,
        `${service} needs both files, such as {chain: ${service}-chain.pem, key: ${service}-key.pem}`,
      );
    certificates[service] = { chain, key };
  }
  return certificates;
}

function mappingOf(
  source: YamlFile,
  path: readonly string[],
  value: unknown,
  known: readonly string[],
): ReadonlyMap<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw source.error(path, `${path.join('.')} must be a mapping with ${known.join(', ')}`);
  const fields = new Map<string, unknown>(Object.entries(value));
  refuseUnknown(source, path, fields, known);
  return fields;
}

function refuseUnknown(
  source: YamlFile,
  path: readonly string[],
  fields: ReadonlyMap<string, unknown>,
  known: readonly string[],
): void {
  for (const key of fields.keys()) {
    if (known.includes(key)) continue;
    const nearest = nearestName(key, known);
    const advice = nearest === undefined ? `known keys are ${known.join(', ')}` : `did you mean ${nearest}?`;
    throw source.errorAtKey([...path, key], `unknown key ${quoted(key)}; ${advice}`);
  }
}

function textOf(source: YamlFile, path: readonly (string | number)[], value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  // Nothing that could end a line of a script or of YAML.
  if (typeof value === 'string' && /^[\x21-\x7e]{1,512}$/.test(value) && !/["'`$\\]/.test(value)) {
    return value;
  }
  const name = path.filter((key) => typeof key === 'string').join('.');
  throw source.error(path, `${name} must be plain text without spaces and quotes`);
}

/** @returns the URL without slashes at its end */
function checkUrl(source: YamlFile, path: readonly string[], text: string): string {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '') {
    return text.replace(/\/+$/, '');
  }
  const example = `https://${(path[0] ?? '').toLowerCase()}.site`;
  throw source.error(path, `${path.join('.')} must be a URL such as ${example}`);
}
