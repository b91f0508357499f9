/**
 * Omni, dex and a time server for a test of the check inside, as one process: they have the site's certificates, listen
 * where the real ones do, and answer what is asked there. They do nothing else.
 * Arguments: folder of the certificates, URL of the log-in service, port of WireGuard, address of the time server.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';

const [folder = '', issuer = '', wireguard = '', time = ''] = process.argv.slice(2);
/** Seconds between 1900, where NTP counts from, and 1970. */
const ntpEpoch = 2_208_988_800;

function serve(service: string, port: number, answers: Readonly<Record<string, unknown>>): void {
  const [cert, key] = ['chain', 'key'].map((what) => readFileSync(join(folder, `${service}-${what}.pem`)));
  createServer({ cert, key }, ({ url = '' }, response) => {
    const answer = answers[url];
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(answer === undefined ? '' : JSON.stringify(answer));
  }).listen(port, '0.0.0.0');
}

serve('omni', 443, { '/healthz': '' });
serve('omni', 8090, {});
serve('omni', 8100, {});
serve('login', Number(new URL(issuer).port), { '/.well-known/openid-configuration': { issuer } });
createSocket('udp4').bind(Number(wireguard), '0.0.0.0');
const clock = createSocket('udp4');
clock.on('message', (_, { port, address }) => {
  const now = Date.now();
  const answer = Buffer.alloc(48);
  answer.writeUInt32BE(Math.floor(now / 1000) + ntpEpoch, 40);
  answer.writeUInt32BE(Math.floor(((now % 1000) / 1000) * 2 ** 32), 44);
  clock.send(answer, port, address);
});
clock.bind(123, time);
