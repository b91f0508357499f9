/**
 * The public hosts as they are seen from outside: the sample upstream behind TLS on port 443 of loopback, told apart by
 * the name that is asked for. Runs in a network namespace of its own:
 *
 *   node test/support/outside.ts DIR CERTIFICATE KEY
 */
import { readFileSync } from 'node:fs';
import { request as ask } from 'node:http';
import { createServer } from 'node:https';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';

const [dir = '', certificate = '', key = ''] = process.argv.slice(2);
const upstream = await startSampleUpstream({ dir, sizeMiB: 8, buildMs: 20 });
const server = createServer(
  { cert: readFileSync(certificate), key: readFileSync(key) },
  (incoming, response) => {
    const base = upstream.urls[incoming.headers.host ?? ''];
    if (base === undefined) return void response.writeHead(421).end();
    const { method = '', rawHeaders } = incoming;
    const outgoing = ask(`${base}${incoming.url}`, { method, headers: rawHeaders }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  },
);
server.listen(443, '127.0.0.1', () => console.log(`ready ${Object.keys(upstream.urls).join(' ')}`));
