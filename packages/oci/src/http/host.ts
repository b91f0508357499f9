/**
 * Hosts as people write them, and the addresses they may have. Patterns: `ghcr.io`, `ghcr.io:8443`, `*.example.com`,
 * `[2001:db8::1]:5000`; compared whole, after parsing. A public name that resolves to anything inside is refused when
 * connecting, and the addresses that were checked are the ones that are connected to (threat T34, DNS rebinding).
 * Source: IANA special-purpose address registries (RFC 6890 and its updates).
 */

import type { LookupAddress } from 'node:dns';
import { lookup as dnsLookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
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

/** Resolves a name to all its addresses. */
export type Lookup = (hostname: string) => Promise<readonly LookupAddress[]>;

export const systemLookup: Lookup = (hostname) => dnsLookup(hostname, { all: true });

const special4 = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special4.addSubnet(network, prefix, 'ipv4');
}

/** Of IPv6 only global unicast is public; these parts of it are not. */
const special6 = new BlockList();
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special6.addSubnet(network, prefix, 'ipv6');
}
const global6 = new BlockList();
global6.addSubnet('2000::', 3, 'ipv6');

/** True for a unicast address of the public internet. Embedded IPv4 (mapped, NAT64) is never public. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !special4.check(address, 'ipv4');
  // A zone index only occurs on link-local addresses.
  if (family !== 6 || address.includes('%')) return false;
  return global6.check(address, 'ipv6') && !special6.check(address, 'ipv6');
}

/**
 * A `connect.lookup` that resolves, refuses names with any address that is not public, and hands the checked
 * addresses to the socket. Address literals never get here: checkUrl looks at them.
 */
export function guardedLookup(lookup: Lookup, publicOnly: boolean): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname).then(
      (found) => {
        const inside = publicOnly ? found.find((entry) => !isPublicAddress(entry.address)) : undefined;
        const first = found[0];
        if (inside !== undefined) {
          const why = `${printable(hostname)} resolves to ${printable(inside.address)}, which is not public`;
          done(
            new CodedError(
              'EGRESS_DENIED',
              `refused ${why}; if it is a mirror of yours, name it with --upstream`,
            ),
            '',
          );
        } else if (first === undefined) {
          done(new CodedError('NETWORK', `${printable(hostname)} has no address`), '');
        } else if (options.all === true) {
          done(null, [...found]);
        } else {
          done(null, first.address, first.family);
        }
      },
      (error: NodeJS.ErrnoException) => done(error, ''),
    );
  };
}
