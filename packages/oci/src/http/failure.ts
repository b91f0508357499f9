/**
 * Failures of connections (sockets, TLS, name resolution, proxies, the HTTP parser) as our errors: which cause they
 * have, who was talked to, and in words that name the remedy for that cause.
 */
import { CodedError, isCoded, messageOf, systemCodeOf } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { adviceFor, type FailureCause, type Peer, type PresentedCertificate } from './advice.ts';

/** A connection to the proxy itself failed; the cause says how. */
export class ProxyFailure extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
    this.name = 'ProxyFailure';
  }
}

/** Where a request went. */
export interface Destination {
  readonly method: string;
  /** Logical. */
  readonly url: URL;
  /** Physical. */
  readonly target: URL;
  readonly peer: Peer;
  readonly proxy?: { readonly url: URL; readonly setting: string } | undefined;
  /** Whether the operator named authorities. */
  readonly hasAuthority: boolean;
}

/** URL for messages: no query, no user name. */
export function shown(url: URL): string {
  return printable(`${url.protocol}//${url.host}${url.pathname}`, 300);
}

interface Reason {
  readonly cause: FailureCause;
  readonly words: string;
}

const byCode: ReadonlyMap<string, Reason> = new Map<string, Reason>([
  ['ENOTFOUND', { cause: 'name unknown', words: 'the name is not known to DNS' }],
  ['EAI_AGAIN', { cause: 'no name server', words: 'DNS does not answer' }],
  ['ECONNREFUSED', { cause: 'refused', words: 'connection refused' }],
  ['ECONNRESET', { cause: 'cut', words: 'connection reset' }],
  ['EPIPE', { cause: 'cut', words: 'connection closed while sending' }],
  ['EHOSTUNREACH', { cause: 'unreachable', words: 'no route to the host' }],
  ['ENETUNREACH', { cause: 'unreachable', words: 'no route to the network' }],
  ['ETIMEDOUT', { cause: 'no connection', words: 'no connection in time' }],
  ['UND_ERR_CONNECT_TIMEOUT', { cause: 'no connection', words: 'no connection in time' }],
  ['UND_ERR_HEADERS_TIMEOUT', { cause: 'no answer', words: 'no answer in time' }],
  ['UND_ERR_BODY_TIMEOUT', { cause: 'cut', words: 'the transfer stalled' }],
  ['UND_ERR_SOCKET', { cause: 'cut', words: 'the connection was closed early' }],
  ['UND_ERR_PRX_CONN', { cause: 'cut', words: 'the connection was closed early' }],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', { cause: 'cut', words: 'the transfer was cut short' }],
]);
const certificateCauses: ReadonlyMap<string, FailureCause> = new Map<string, FailureCause>([
  ['CERT_HAS_EXPIRED', 'certificate expired'],
  ['CERT_NOT_YET_VALID', 'certificate not yet valid'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'certificate of another name'],
]);
const clientCertificateAlert =
  /ALERT_(?:HANDSHAKE_FAILURE|BAD_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE)/;
/** What the other side sends when it is no TLS. */
const noTls: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
]);
/** Causes that no repetition heals. */
const lasting: ReadonlySet<FailureCause> = new Set<FailureCause>([
  'certificate expired',
  'certificate not yet valid',
  'certificate of another name',
  'certificate of an unknown authority',
  'client certificate',
  'no TLS',
  'only HTTP/2',
  'TLS',
  'proxy log-in',
]);
/** What undici says of a proxy that answers a CONNECT, or a request that it should hand on. */
const proxyAnswer = /^Proxy (?:response \(([0-9]{3})\)|Authentication Required \((407)\))/;

/**
 * @param error what the exchange failed with; a CodedError (refusal, abort, a body that failed) stays as it is
 * @param certificate what the other side presented, where that has been asked
 * @returns NETWORK for what may pass by itself, UPSTREAM for TLS and protocol errors, which will not; with its cause, and
 * who was talked to, in `failure`
 */
export function failureOf(
  error: unknown,
  to: Destination,
  certificate: PresentedCertificate | undefined = certificateIn(error),
): CodedError {
  const chain = chainOf(error);
  const coded = chain.find((one) => isCoded(one));
  if (isCoded(coded)) return coded;
  const code = systemCodeOf(error) ?? '';
  const status = Number(
    chain
      .map((one) => proxyAnswer.exec(one.message))
      .find(Boolean)
      ?.slice(1)
      .find(Boolean),
  );
  const isOfProxy = to.proxy !== undefined && (status > 0 || isBeforeTarget(chain, code, to));
  const peer: Peer = isOfProxy ? 'proxy' : to.peer;
  const reason =
    status > 0 ? proxyReason(status) : reasonOf(code, error, isOfProxy ? to.proxy?.url : to.target);
  const { cause } = reason;
  const isProtocolError = code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE';
  const setting = to.proxy?.setting ?? '';
  const advice = adviceFor(cause, peer, {
    host: printable(to.url.host),
    setting,
    now: new Date().toISOString(),
    hasAuthority: to.hasAuthority,
    certificate,
    status,
    hasLogIn: to.proxy !== undefined && to.proxy.url.username !== '',
  });
  const whom = isOfProxy ? `the proxy ${printable(to.proxy?.url.host ?? '')} (${setting}): ` : '';
  const what = `${to.method} ${shown(to.url)}`;
  return new CodedError(
    lasting.has(cause) || (isProtocolError && cause === 'other') ? 'UPSTREAM' : 'NETWORK',
    `${what}: ${whom}${reason.words}${advice === '' ? '' : `; ${advice}`}`,
    { cause: error, failure: { cause, peer } },
  );
}

function chainOf(error: unknown): readonly Error[] {
  const chain: Error[] = [];
  for (let e = error; e instanceof Error && chain.length < 8; e = e.cause) chain.push(e);
  return chain;
}

/** Whether it failed at the proxy: requests by plain HTTP have no connection but the one to it. */
function isBeforeTarget(chain: readonly Error[], code: string, { target }: Destination): boolean {
  if (chain.some((one) => one instanceof ProxyFailure)) return true;
  return code.startsWith('UND_ERR_PRX') || (target.protocol === 'http:' && byCode.has(code));
}

function proxyReason(status: number): Reason {
  return {
    cause: status === 407 ? 'proxy log-in' : 'proxy refusal',
    words: `answers ${status}`,
  };
}

/** @param url where the connection that failed went */
function reasonOf(code: string, error: unknown, url: URL | undefined): Reason {
  const known = byCode.get(code);
  const isPlain = url?.protocol === 'http:';
  // A server that expects TLS closes the connection, or answers with an alert that is no HTTP.
  if (isPlain && (known?.cause === 'cut' || code === 'HPE_INVALID_CONSTANT')) {
    return { cause: 'only TLS', words: known?.words ?? 'the answer is no HTTP' };
  }
  if (known !== undefined) return known;
  if (/^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_)/.test(code)) {
    return {
      cause: certificateCauses.get(code) ?? 'certificate of an unknown authority',
      words: `TLS certificate refused (${code})`,
    };
  }
  if (/^(?:ERR_SSL_|EPROTO)/.test(code)) {
    const cause: FailureCause = clientCertificateAlert.test(code)
      ? 'client certificate'
      : code.includes('NO_APPLICATION_PROTOCOL')
        ? 'only HTTP/2'
        : noTls.has(code)
          ? 'no TLS'
          : 'TLS';
    return { cause, words: `TLS failed (${code})` };
  }
  return { cause: 'other', words: printable(messageOf(error)) };
}

/** The certificate that an error is about, when it tells. Source: Node.js tls.checkServerIdentity. */
function certificateIn(error: unknown): PresentedCertificate | undefined {
  for (const one of chainOf(error)) {
    const cert = 'cert' in one && typeof one.cert === 'object' && one.cert !== null ? one.cert : undefined;
    if (cert !== undefined) return presented(cert);
  }
  return undefined;
}

/** @param cert as Node.js gives it */
export function presented(cert: object): PresentedCertificate {
  const { subjectaltname, valid_from, valid_to, issuer } = cert as Readonly<Record<string, unknown>>;
  const text = (value: unknown): string => (typeof value === 'string' ? printable(value, 300) : '');
  const { O: organization, CN: name } = (issuer ?? {}) as Readonly<Record<string, unknown>>;
  return {
    validFrom: text(valid_from),
    validTo: text(valid_to),
    names: text(subjectaltname).replaceAll(/DNS:|IP Address:/g, ''),
    issuer: text(organization ?? name),
  };
}
