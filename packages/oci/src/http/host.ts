/** Host patterns: `ghcr.io`, `ghcr.io:8443`, `*.example.com`, `[2001:db8::1]:5000`; compared whole, after parsing. */
import { isIP } from 'node:net';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { isRegistryHost } from '../model/reference.ts';

/**
 * @param text a host as `--allow-host` takes it; without a port it stands for the scheme's own
 * @returns the pattern in lower case
 * @throws BAD_NAME for anything that is no host, an address in an unusual notation, or `*` alone
 */
export function parseHostPattern(text: string): string {
  const pattern = text.toLowerCase();
  const wild = pattern.startsWith('*.');
  const { name } = splitPort(wild ? pattern.slice(2) : pattern);
  const bad = (): CodedError =>
    new CodedError('BAD_NAME', `not a host: ${printable(text)} (write host, host:port or *.domain)`);
  if (!isRegistryHost(wild ? pattern.slice(2) : pattern)) throw bad();
  // A URL parser rewrites 0x7f.1 to 127.0.0.1: what it does not leave alone is refused.
  if (URL.parse(`https://${name}/`)?.hostname !== name) throw bad();
  if (wild && isIP(bareAddress(name)) !== 0) throw bad();
  return pattern;
}

/** True when the pattern covers the URL's host and port. */
export function hostMatches(pattern: string, url: URL): boolean {
  const { name, port } = splitPort(pattern);
  if ((port || defaultPort(url)) !== (url.port || defaultPort(url))) return false;
  if (!name.startsWith('*.')) return name === url.hostname;
  const suffix = name.slice(1);
  return (
    isIP(bareAddress(url.hostname)) === 0 &&
    url.hostname.length > suffix.length &&
    url.hostname.endsWith(suffix)
  );
}

/** The address without the brackets that a URL puts around IPv6. */
export function bareAddress(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

function splitPort(pattern: string): { readonly name: string; readonly port: string } {
  const port = /:([0-9]{1,5})$/.exec(pattern)?.[1];
  return port === undefined
    ? { name: pattern, port: '' }
    : { name: pattern.slice(0, -port.length - 1), port };
}

function defaultPort(url: URL): string {
  return url.protocol === 'http:' ? '80' : '443';
}
