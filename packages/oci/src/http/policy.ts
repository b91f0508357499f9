/**
 * The egress policy: which hosts may be spoken to, how, and where their requests really go. Data, and the one check
 * that every hop passes before anything is resolved or connected. Threats T29, T33, T34.
 *
 * Requests for a mapped HOST go to the operator's URL instead, and what comes back from there is translated, so that
 * policy, redirects, credentials and records only ever speak of HOST.
 */
import { isIP } from 'node:net';
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { bareAddress, hostMatches, isPublicAddress, parseHostPattern } from './host.ts';

/** Which hosts may be contacted, and how. */
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

/**
 * True when a host is reached by plain HTTP.
 * @param plainHttp hosts as `--plain-http` takes them; without a port: on any port
 * @param host `HOST[:PORT]`, as in a reference or a URL
 */
export function isPlainHttp(plainHttp: readonly string[], host: string): boolean {
  const url = URL.parse(`http://${host}/`);
  return url !== null && plainHttp.some((one) => one === url.hostname || hostMatches(one, url));
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
  if (url.protocol === 'http:' && !isPlainHttp(policy.plainHttp, url.host)) {
    throw denied(`plain HTTP is not allowed there; if it must be, add --plain-http ${url.host}`);
  }
  const literal = bareAddress(url.hostname);
  if (isIP(literal) !== 0 && !anyAddressAllowed(policy, url) && !isPublicAddress(literal)) {
    throw denied('the address is not public');
  }
}

export interface Upstream {
  /** Logical host, with port when not 443. */
  readonly host: string;
  /** Where its requests go; plain HTTP, private addresses and a path prefix are allowed. */
  readonly url: URL;
}

interface Mapped {
  readonly upstreams: readonly Upstream[];
}

/** @param text `HOST=URL` as `--upstream` takes it @throws USAGE, BAD_NAME */
export function parseUpstream(text: string): Upstream {
  const at = text.indexOf('=');
  const url = at < 0 ? null : URL.parse(text.slice(at + 1));
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CodedError(
      'USAGE',
      `--upstream takes HOST=URL with an http or https URL, not ${printable(text)}`,
    );
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new CodedError(
      'USAGE',
      `--upstream ${printable(text.slice(0, at))}: the URL may have host and path only`,
    );
  }
  const named = parseHostPattern(text.slice(0, at));
  if (named.startsWith('*.'))
    throw new CodedError('BAD_NAME', `--upstream maps one host, not ${printable(named)}`);
  // What references call docker.io is asked for at this host.
  const host = named === 'docker.io' ? 'registry-1.docker.io' : named;
  return { host, url };
}

/** The mapping that applies to a logical URL. */
export function mappingOf(policy: Mapped, url: URL): Upstream | undefined {
  return policy.upstreams.find((upstream) => hostMatches(upstream.host, url));
}

/** Where a logical URL is really asked for: itself when its host is not mapped. */
export function physicalUrl(policy: Mapped, url: URL): URL {
  const mapping = mappingOf(policy, url);
  if (mapping === undefined) return url;
  const result = new URL(mapping.url);
  result.pathname = prefixOf(mapping) + url.pathname;
  result.search = url.search;
  return result;
}

/**
 * The logical form of a URL that came from the other side: `https://HOST/…` when it lies below a mapped URL
 * (the longest path prefix wins, then the host that was being asked), else the URL as it is.
 */
export function logicalUrl(policy: Mapped, url: URL, asked?: URL): URL {
  const below = policy.upstreams.filter(
    (upstream) =>
      upstream.url.origin === url.origin && `${url.pathname}/`.startsWith(`${prefixOf(upstream)}/`),
  );
  const rank = (upstream: Upstream): number =>
    prefixOf(upstream).length * 2 + (upstream.host === asked?.host ? 1 : 0);
  const best = below.sort((a, b) => rank(b) - rank(a))[0];
  if (best === undefined) return url;
  const result = new URL(`https://${best.host}/`);
  result.pathname = url.pathname.slice(prefixOf(best).length);
  result.search = url.search;
  return result;
}

/**
 * A URL reference from an answer (Location, Link, realm), absolute or relative, made logical.
 * @param asked logical URL of the request that was answered
 * @returns undefined when it is no URL
 */
export function resolveReference(policy: Mapped, reference: string, asked: URL): URL | undefined {
  const physical = URL.parse(reference, physicalUrl(policy, asked).href);
  if (physical === null) return undefined;
  const logical = logicalUrl(policy, physical, asked);
  if (logical !== physical || URL.canParse(reference)) return logical;
  // A server that does not know of the prefix before it names paths from its own root.
  return URL.parse(reference, asked.href) ?? undefined;
}

function prefixOf(upstream: Upstream): string {
  return upstream.url.pathname.replace(/\/+$/, '');
}
