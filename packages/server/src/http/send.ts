/** Turns an answer into bytes on the socket: lengths, HEAD, conditional requests and ranges. */
import type { ServerResponse } from 'node:http';
import { type Answer, isFileBody, type Request } from './message.ts';
import { parseRange } from './range.ts';
import { sendFile } from './send-file.ts';

/**
 * Sends all of it. HEAD opens no file.
 * Source: RFC 9110 sections 9.3.2 (HEAD), 13 (conditions), 14 (ranges).
 * @throws what sendFile throws; when headers are out by then, the connection must be cut
 */
export async function send(
  response: ServerResponse,
  answer: Answer,
  request: Pick<Request, 'method' | 'headers' | 'signal'>,
): Promise<void> {
  const { body } = answer;
  const headers: Record<string, string> = { ...answer.headers };
  const head = request.method === 'HEAD';
  const etag = headers['ETag'];
  if (answer.status === 200 && etag !== undefined && matches(request.headers['if-none-match'], etag)) {
    response.writeHead(304, headers);
    response.end();
    return;
  }
  if (!isFileBody(body)) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    if (bytes !== undefined) headers['Content-Length'] = String(bytes.byteLength);
    else if (answer.status !== 204) headers['Content-Length'] ??= '0';
    response.writeHead(answer.status, headers);
    response.end(head || bytes === undefined ? undefined : bytes);
    return;
  }
  headers['Accept-Ranges'] = 'bytes';
  const ifRange = request.headers['if-range'];
  const asked = head || (ifRange !== undefined && ifRange !== etag) ? undefined : request.headers.range;
  const range = parseRange(asked, body.size);
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'Content-Range': `bytes */${body.size}`, 'Content-Length': '0' });
    response.end();
    return;
  }
  const length = range === 'whole' ? body.size : range.end - range.start + 1;
  headers['Content-Length'] = String(length);
  if (range !== 'whole') headers['Content-Range'] = `bytes ${range.start}-${range.end}/${body.size}`;
  const begin = (): void => {
    response.writeHead(range === 'whole' ? answer.status : 206, headers);
  };
  if (head) begin();
  else await sendFile(response, body, range, begin, request.signal);
  response.end();
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*');
}
