/** What a failed exchange means: the errors of sockets, TLS, name resolution and the HTTP parser as ours. */
import { CodedError, isCoded, messageOf, systemCodeOf } from '../base/errors.ts';
import { printable } from '../base/printable.ts';

const reasons: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name is not known to DNS',
  EAI_AGAIN: 'DNS does not answer',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed while sending',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ETIMEDOUT: 'no connection in time',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the transfer stalled',
  UND_ERR_SOCKET: 'the connection was closed early',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the transfer was cut short',
};

/** URL for messages: no query, no user name. */
export function shown(url: URL): string {
  return printable(`${url.protocol}//${url.host}${url.pathname}`, 300);
}

/**
 * @param error what the exchange failed with; a CodedError (refusal, abort, a body that failed) stays as it is
 * @returns NETWORK for what may pass by itself, UPSTREAM for TLS and protocol errors, which will not
 */
export function exchangeError(error: unknown, method: string, url: URL): CodedError {
  for (let e = error, depth = 0; e instanceof Error && depth < 4; e = e.cause, depth++) {
    if (isCoded(e)) return e;
  }
  const code = systemCodeOf(error) ?? '';
  const what = `${method} ${shown(url)}`;
  if (/^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_)/.test(code)) {
    const hint = 'if the site has its own CA, name it with --ca-cert FILE';
    return new CodedError('UPSTREAM', `${what}: TLS certificate refused (${code}); ${hint}`, {
      cause: error,
    });
  }
  if (/^(?:ERR_SSL_|EPROTO)/.test(code)) {
    const hint = `if the other side speaks plain HTTP, add --plain-http ${url.host}`;
    return new CodedError('UPSTREAM', `${what}: TLS failed (${code}); ${hint}`, { cause: error });
  }
  const kind = code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE' ? 'UPSTREAM' : 'NETWORK';
  const reason = reasons[code] ?? printable(messageOf(error));
  return new CodedError(kind, `${what}: ${reason}`, { cause: error });
}
