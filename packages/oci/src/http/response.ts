/**
 * An answer: status, headers, and a body that is read once, bounded when it is read whole. Error answers as errors: what
 * the other side says, bounded and made printable, under the code its status stands for.
 * Source of the JSON shape: distribution-spec v1.1.1 spec.md#error-codes.
 */

import { CodedError, type ErrorCode, isCoded, messageOf } from '../base/errors.ts';
import { type JsonObject, parseStrictObject } from '../base/json.ts';
import { printable } from '../base/text.ts';
import { collect } from '../model/bytes.ts';
import type { Bytes } from '../storage.ts';
import { adviceFor, type Peer } from './advice.ts';
import type { Exchange, Head } from './exchange.ts';
import { shown } from './failure.ts';
import { parseRetryAfter } from './retry.ts';
import { looksLikePage, saysPage, typeOfAnswer, unexpectedAnswer } from './web-page.ts';

/** An answer whose body has not been read yet. */
export interface GateResponse {
  readonly status: number;
  /** Lower-case names; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** Logical URL of the last hop. */
  readonly url: URL;
  /** Organization or name of who issued the certificate of its server; empty without TLS. */
  readonly issuer: string;
  /** Who was asked. */
  readonly peer: Peer;
  /** To be read to its end, once, or cancelled. Errors while reading: NETWORK, ABORTED. */
  readonly body: Bytes;
  /** The whole body. @param what for messages @param maxBytes default 1 MiB @throws UPSTREAM when there is more */
  bytes(what: string, maxBytes?: number): Promise<Uint8Array>;
  /** @param maxBytes default 1 MiB @throws UPSTREAM when there is more */
  text(maxBytes?: number): Promise<string>;
  /** @param what for messages @param maxBytes default 1 MiB @throws UPSTREAM unless it is a strict JSON object */
  json(what: string, maxBytes?: number): Promise<JsonObject>;
  /** Gives the body up; the connection is kept when little of it was left. */
  cancel(): Promise<void>;
}

const defaultMaxBytes = 1024 * 1024;

export function gateResponse(head: Head, body: Exchange, url: URL, peer: Peer): GateResponse {
  const { status, headers } = head;
  const bytes: GateResponse['bytes'] = async (what, maxBytes = defaultMaxBytes) => {
    try {
      return await collect(body, maxBytes, what);
    } catch (error) {
      // An answer is no document that somebody signed: whatever it is, it says nothing about content.
      throw isCoded(error, 'BAD_DOCUMENT') ? asUpstream(error, url) : error;
    }
  };
  return {
    status,
    headers,
    url,
    issuer: body.endpoint?.issuer ?? '',
    peer,
    body,
    bytes,
    text: async (maxBytes) => Buffer.from(await bytes(shown(url), maxBytes)).toString('utf8'),
    json: async (what, maxBytes) => {
      const answer = await bytes(what, maxBytes);
      try {
        return parseStrictObject(answer, { what });
      } catch (error) {
        if (saysPage({ headers }) || looksLikePage(answer)) {
          throw unexpectedAnswer({ headers, url }, what, 'JSON', { bytes: answer, cause: error });
        }
        throw asUpstream(error, url);
      }
    },
    cancel: async () => body.cancel(),
  };
}

function asUpstream(error: unknown, url: URL): CodedError {
  return new CodedError('UPSTREAM', `${messageOf(error)} (${shown(url)})`, { cause: error });
}

/** What an error answer says. */
export interface ErrorBody {
  /** Registry error codes such as `DIGEST_INVALID`; empty for other kinds of answer. */
  readonly codes: readonly string[];
  /** Printable, one line, perhaps empty. */
  readonly text: string;
}

const maxErrorBytes = 64 * 1024;

/** Reads an error answer to its end, or to 64 KiB. Never fails: an unreadable body says nothing. */
export async function readErrorBody(response: GateResponse): Promise<ErrorBody> {
  let bytes: Uint8Array;
  try {
    bytes = await collect(response.body, maxErrorBytes, 'error answer');
  } catch {
    await response.cancel();
    return { codes: [], text: '' };
  }
  try {
    const list = parseStrictObject(bytes, { what: 'error answer' })['errors'];
    const errors = (Array.isArray(list) ? list : []).flatMap((entry) =>
      typeof entry === 'object' && entry !== null && !Array.isArray(entry) ? [entry] : [],
    );
    const say = (value: unknown): string => (typeof value === 'string' ? value : '');
    return {
      codes: errors.map((entry) => say(entry['code'])).filter((code) => code !== ''),
      text: printable(
        errors
          .map((entry) => [say(entry['code']), say(entry['message'])].filter(Boolean).join(': '))
          .join('; '),
      ),
    };
  } catch {
    return { codes: [], text: printable(plainText(response, Buffer.from(bytes).toString('utf8'))) };
  }
}

/** What an answer says that is no list of errors: plain text, also without a type, or the title of a page. */
function plainText(response: GateResponse, text: string): string {
  const type = typeOfAnswer(response) ?? 'text/plain';
  const isPage = saysPage(response) || text.trimStart().startsWith('<');
  if (isPage) return /<title>([^<]{1,200})<\/title>/i.exec(text)?.[1]?.trim() ?? '';
  return /^(?:text\/plain|application\/json)$/.test(type) ? text.trim() : '';
}

/** Statuses that may come with Retry-After. */
const busy: ReadonlySet<number> = new Set([429, 503]);

/** What servers say of a request that came over the wrong kind of connection: nginx and Go's net/http. */
const wrongConnection: readonly (readonly [says: RegExp, remedy: (host: string) => string])[] = [
  [
    /plain HTTP request was sent to HTTPS port|sent an HTTP request to an HTTPS server/i,
    (host) => `it speaks TLS: leave out --plain-http ${host}`,
  ],
  [
    /No required SSL certificate was sent|SSL certificate error/i,
    () => 'it asks for a client certificate: specify --client-cert FILE and --client-key FILE',
  ],
];

/**
 * The error for an answer whose body has been read.
 * @param what what was being done, beginning the message
 * @param url what was asked for, where a redirect led away from it
 * @returns DENIED for 401 and 403, NOT_FOUND for 404, UPSTREAM else; with status and retryAfterMs
 */
export function errorFor(
  response: Pick<GateResponse, 'status' | 'headers' | 'url'> & Partial<Pick<GateResponse, 'peer'>>,
  body: ErrorBody,
  what: string,
  url: URL = response.url,
): CodedError {
  const { status } = response;
  const code: ErrorCode =
    status === 401 || status === 403 ? 'DENIED' : status === 404 ? 'NOT_FOUND' : 'UPSTREAM';
  const retryAfterMs = parseRetryAfter(response.headers['retry-after'], Date.now());
  const location = response.headers['location'];
  const target =
    status >= 300 && status < 400 && location !== undefined ? URL.parse(location, url.href) : null;
  const where = target === null ? '' : `, a redirect to ${shown(target)}`;
  const said = body.text === '' ? '' : `: ${body.text}`;
  const remedy = status === 400 ? wrongConnection.find(([says]) => says.test(body.text))?.[1] : undefined;
  const limit =
    status === 429
      ? adviceFor('rate limit', response.peer ?? 'site', { host: printable(url.host) })
      : undefined;
  const wait =
    busy.has(status) && retryAfterMs !== undefined ? ` (wait ${Math.ceil(retryAfterMs / 1000)} s)` : '';
  const advice = [remedy?.(url.host), limit].filter((one) => one !== undefined).map((one) => `; ${one}`);
  return new CodedError(
    code,
    `${what}: ${shown(url)} answers ${status}${wait}${where}${said}${advice.join('')}`,
    {
      status,
      retryAfterMs,
    },
  );
}

/** readErrorBody and errorFor in one. */
export async function errorFromResponse(
  response: GateResponse,
  what: string,
  url: URL = response.url,
): Promise<CodedError> {
  return errorFor(response, await readErrorBody(response), what, url);
}
