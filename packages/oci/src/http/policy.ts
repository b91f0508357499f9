/**
 * The egress policy: which hosts may be spoken to, and how. Data, and the one check that every hop passes
 * before anything is resolved or connected. Threats T29, T33, T34.
 */
import { isIP } from 'node:net';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { isPublicAddress } from './address.ts';
import { bareAddress, hostMatches } from './host.ts';
import { mappingOf, type Upstream } from './upstream.ts';

export interface EgressPolicy {
  /** `ghcr.io`, `ghcr.io:8443`, `*.example.com` (at least one label more), or an address literal. */
  readonly hosts: readonly string[];
  /** Hosts for which `http://` is allowed; without a port: on any port. They must be in `hosts` as well. */
  readonly plainHttp: readonly string[];
  /** True inside, where the named targets have private addresses. Mapped hosts may always have them. */
  readonly allowPrivate: boolean;
  /** Hosts whose requests go somewhere else (`--upstream HOST=URL`). */
  readonly upstreams: readonly Upstream[];
}

/** True when the URL's host and port are on the list. Says nothing about scheme and address. */
export function hostAllowed(policy: EgressPolicy, url: URL): boolean {
  return policy.hosts.some((pattern) => hostMatches(pattern, url));
}

/** True when any address will do for the URL's host: the operator named it. */
export function anyAddressAllowed(policy: EgressPolicy, url: URL): boolean {
  return policy.allowPrivate || mappingOf(policy, url) !== undefined;
}

/**
 * Checks a logical URL.
 * @param pointedBy what led to it when that was not the caller, for the message
 * @throws EGRESS_DENIED naming the host and what to do
 */
export function checkUrl(policy: EgressPolicy, url: URL, pointedBy?: string): void {
  const because = pointedBy === undefined ? '' : `, where ${pointedBy} points`;
  const denied = (why: string): CodedError =>
    new CodedError('EGRESS_DENIED', `refused ${printable(url.host || url.protocol)}${because}: ${why}`);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw denied('only https is spoken');
  if (url.username !== '' || url.password !== '') throw denied('a URL may not carry a user name');
  if (!hostAllowed(policy, url)) {
    throw denied(`the host is not on the allow-list; if it should be, add --allow-host ${url.host}`);
  }
  const plain = (host: string): boolean => host === url.hostname || hostMatches(host, url);
  if (url.protocol === 'http:' && !policy.plainHttp.some(plain)) {
    throw denied(`plain HTTP is not allowed there; if it must be, add --plain-http ${url.host}`);
  }
  const literal = bareAddress(url.hostname);
  if (isIP(literal) !== 0 && !anyAddressAllowed(policy, url) && !isPublicAddress(literal)) {
    throw denied('the address is not public');
  }
}
