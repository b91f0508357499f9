/** How the Image Factory answers: plain text for errors, JSON for lists, files as attachments. */
import { isCoded, messageOf, printable } from '@omni-airgap/oci/base';
import { TalosError } from '@omni-airgap/talos';
import type { Answer } from '../http/message.ts';
import { StateKeyNeeded } from '../replica/sealing.ts';
import { upstreamProblem } from '../replica/upstream-problem.ts';

/** @param line without the newline that ends it */
export function plainText(status: number, line: string): Answer {
  return {
    status,
    headers: { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' },
    body: `${printable(line, 1000)}\n`,
  };
}

export function json(status: number, value: unknown): Answer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: `${JSON.stringify(value)}\n` };
}

/** The answer for an error; what files of this machine are called stays in the log. */
export function failed(error: unknown): Answer {
  if (error instanceof TalosError) return plainText(400, error.message);
  if (isCoded(error, 'BAD_NAME')) return plainText(400, messageOf(error));
  if (isCoded(error, 'DISK')) {
    return plainText(503, 'the medium or disk of this server cannot be read; see its log');
  }
  if (isCoded(error, 'DIGEST_MISMATCH', 'MISSING_CONTENT')) {
    return plainText(
      500,
      'the stored content is damaged or incomplete; see /healthz and the log of the server',
    );
  }
  if (error instanceof StateKeyNeeded) return plainText(403, error.message);
  const upstream = upstreamProblem(error);
  if (upstream !== undefined) {
    const { status, message, headers } = upstream;
    const answer = plainText(status, message);
    return { ...answer, headers: { ...answer.headers, ...headers } };
  }
  return plainText(500, 'internal server error');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const controls = /[\u0000-\u001f\u007f-\u009f]/;
const maxFilename = 255;

/**
 * `attachment` with the name; undefined when the name could break the header (T38).
 * Source: RFC 6266, RFC 8187.
 */
export function attachment(filename: string): string | undefined {
  if (filename === '' || filename.length > maxFilename || controls.test(filename)) return undefined;
  if (!filename.isWellFormed()) return undefined;
  const ascii = filename.replace(/[^\u0020-\u007e]/g, '_').replace(/[\\"]/g, '\\$&');
  const header = `attachment; filename="${ascii}"`;
  const encoded = encodeURIComponent(filename).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return /^[\u0020-\u007e]*$/.test(filename) ? header : `${header}; filename*=UTF-8''${encoded}`;
}
