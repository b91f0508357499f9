/**
 * Web pages in place of answers. A captive portal, a web filter or a log-in proxy answers 200 to every request, so a
 * status alone proves nothing: the type of an answer, and its first bytes, are compared with what was asked for.
 * Sources: RFC 8908 (captive portals); WHATWG MIME Sniffing, "Identifying a resource with an unknown MIME type".
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';

interface Answer {
  readonly headers: Readonly<Record<string, string>>;
  readonly url: URL;
}

const pageTypes: ReadonlySet<string> = new Set(['text/html', 'application/xhtml+xml']);
const pageStart = /^\s*<(?:!doctype\s+html|html|head|body|script|title|meta|!--)[\s>-]/i;
/** Bytes of an answer that tell whether it is a page. */
const lookedAt = 256;

/** Media type of an answer in lower case, without parameters; undefined when there is none. */
export function typeOfAnswer({ headers }: Pick<Answer, 'headers'>): string | undefined {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  return type === '' ? undefined : type;
}

/** True when the answer says that it is a web page. */
export function saysPage(answer: Pick<Answer, 'headers'>): boolean {
  return pageTypes.has(typeOfAnswer(answer) ?? '');
}

/** True when bytes begin as HTML does, after an optional byte order mark. @param bytes the first 256 or more */
export function looksLikePage(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, lookedAt));
  return pageStart.test(start.toString('latin1').replace(/^\u00ef\u00bb\u00bf/, ''));
}

/**
 * The error for a successful answer that is something else than what was asked for.
 * @param what what was being done, beginning the message
 * @param wanted what the answer should be: `a manifest`, `JSON`
 * @param bytes the answer, or its beginning, when it was read
 * @returns UPSTREAM
 */
export function unexpectedAnswer(
  answer: Answer,
  what: string,
  wanted: string,
  { bytes, cause }: { readonly bytes?: Uint8Array | undefined; readonly cause?: unknown } = {},
): CodedError {
  const type = printable(typeOfAnswer(answer) ?? 'no Content-Type', 100);
  const isPage = saysPage(answer) || (bytes !== undefined && looksLikePage(bytes));
  const why = isPage
    ? `a web page (${type}) instead of ${wanted}: a captive portal, web filter or log-in page answered instead of the server; check network and proxy, then run the command again`
    : `${type}, which is not ${wanted}`;
  return new CodedError('UPSTREAM', `${what}: ${answer.url.host} answers with ${why}`, { cause });
}
