/**
 * Forward proxies: which proxy a URL goes through. The environment variables are those of curl and Go.
 * Credentials in a proxy URL are given to the proxy only.
 */
import { BlockList, isIP } from 'node:net';
import { CodedError } from '../base/errors.ts';

/** Which proxy each kind of URL goes through, and which hosts go around it. */
export interface ProxySettings {
  /** For https targets. */
  readonly https?: URL | undefined;
  /** For http targets. */
  readonly http?: URL | undefined;
  /** `*`, `host`, `.suffix`, `*.suffix` (a host covers its sub-domains), each with an optional port; addresses and CIDR. */
  readonly noProxy: readonly string[];
  /** The flag that names it; undefined for the variables of the environment. */
  readonly flag?: string | undefined;
}

/** A proxy that a request goes through. */
export interface UsedProxy {
  readonly url: URL;
  /** Where it is named: `HTTPS_PROXY`, `--proxy`. */
  readonly setting: string;
}

/**
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY, lower case first as curl does.
 * @returns undefined when no proxy is set
 * @throws CONFIG when a proxy is no http or https URL
 */
export function proxyFromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): ProxySettings | undefined {
  const read = (name: string): URL | undefined => {
    const text = env[name.toLowerCase()] || env[name];
    return text ? parseProxy(text, 'CONFIG', name) : undefined;
  };
  const https = read('HTTPS_PROXY');
  const http = read('HTTP_PROXY');
  if (https === undefined && http === undefined) return undefined;
  const noProxy = (env['no_proxy'] || env['NO_PROXY'] || '')
    .split(/[\s,]+/)
    .map((entry) => entry.toLowerCase())
    .filter((entry) => entry !== '');
  return { https, http, noProxy };
}

/** One proxy for everything, as a person names it. @param text URL or `HOST:PORT` @throws USAGE */
export function proxyFromFlag(text: string): ProxySettings {
  const url = parseProxy(text, 'USAGE', '--proxy');
  return { https: url, http: url, noProxy: [], flag: '--proxy' };
}

/** The message says nothing of the URL, which may hold a password. */
function parseProxy(text: string, code: 'CONFIG' | 'USAGE', what: string): URL {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CodedError(code, `${what} must be an http or https URL`);
  }
  return url;
}

/** The proxy for a URL that is about to be asked, if any. */
export function proxyFor(settings: ProxySettings | undefined, url: URL): UsedProxy | undefined {
  const isSecure = url.protocol === 'https:';
  const proxy = isSecure ? settings?.https : settings?.http;
  if (settings === undefined || proxy === undefined) return undefined;
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (settings.noProxy.some((entry) => bypasses(entry, host, port))) return undefined;
  return { url: proxy, setting: settings.flag ?? (isSecure ? 'HTTPS_PROXY' : 'HTTP_PROXY') };
}

function bypasses(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const [network, prefix] = entry.split('/');
  if (network !== undefined && prefix !== undefined) return inNetwork(network, Number(prefix), host);
  const match = /^\[?(.+?)\]?(?::([0-9]+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry);
  const name = match?.[1] ?? entry;
  if (match?.[2] !== undefined && match[2] !== port) return false;
  if (isIP(host) !== 0) return name === host;
  const suffix = name.replace(/^\*?\./, '');
  return host.endsWith(`.${suffix}`) || (name === suffix && host === name);
}

function inNetwork(network: string, prefix: number, host: string): boolean {
  const family = isIP(network);
  if (family === 0 || family !== isIP(host)) return false;
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, prefix, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
