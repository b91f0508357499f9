/** Error answers as errors: the code of the status, what the other side says. */
import { expect, test } from 'vitest';
import { errorFromResponse } from '../src/http/response.ts';
import { gateTo, server } from './gate.ts';

const cases: [number, Record<string, string>, string, object][] = [
  [
    404,
    {},
    '{"errors":[{"code":"NAME_UNKNOWN","message":"no \\u001b[31m such"}]}',
    {
      code: 'NOT_FOUND',
      message: 'pull: https://ghcr.io/v2/x answers 404: NAME_UNKNOWN: no \\u001b[31m such',
    },
  ],
  [401, {}, '', { code: 'DENIED', status: 401, message: 'pull: https://ghcr.io/v2/x answers 401' }],
  [403, { 'content-type': 'text/html' }, '<html>', { code: 'DENIED', message: /answers 403$/ }],
  [
    429,
    { 'retry-after': '7', 'content-type': 'text/plain' },
    'slow',
    { code: 'UPSTREAM', retryAfterMs: 7000, message: /429 \(wait 7 s\): slow; it limits the rate/ },
  ],
  [500, {}, 'x'.repeat(100_000), { code: 'UPSTREAM', status: 500, message: /answers 500$/ }],
  [
    413,
    { 'content-type': 'text/html' },
    '<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>',
    { code: 'UPSTREAM', message: /answers 413: 413 Request Entity Too Large$/ },
  ],
  [400, {}, '<p>secret</p>', { message: /answers 400$/ }],
  [
    400,
    { 'content-type': 'text/html' },
    '<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>',
    { message: /HTTPS port; it speaks TLS: leave out --plain-http ghcr\.io$/ },
  ],
  [
    400,
    {},
    'Client sent an HTTP request to an HTTPS server.\n',
    { message: /HTTPS server\.; it speaks TLS: leave out --plain-http ghcr\.io$/ },
  ],
  [
    400,
    { 'content-type': 'text/html' },
    '<html><head><title>400 No required SSL certificate was sent</title></head></html>',
    { message: /it asks for a client certificate: specify --client-cert FILE and --client-key FILE$/ },
  ],
];
test.each(cases)('%i', async (status, headers, body, expected) => {
  const origin = await server((_, response) => response.writeHead(status, headers).end(body));
  const { gate } = gateTo({ 'ghcr.io': origin });
  const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/v2/x?token=s3cret' });
  expect(await errorFromResponse(response, 'pull')).toMatchObject(expected);
});
