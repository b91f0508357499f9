/** A private certificate authority and one server certificate by openssl, made anew for each use. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.ts';
import { requireCommands } from './require.ts';
import { remove, temporaryFolder } from './temporary.ts';

export interface Certificates {
  /** Path of the authority's certificate: what `--ca-cert` and trust bundles take. */
  readonly caFile: string;
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Removes the files. */
  dispose(): void;
}

/**
 * @param hosts names and IPv4 addresses that the server certificate is for
 * @throws MissingService without openssl
 */
export async function makeCertificates(...hosts: string[]): Promise<Certificates> {
  requireCommands('openssl');
  const folder = temporaryFolder('tls');
  const names = hosts.map((host) => (/^[0-9.]+$/.test(host) ? `IP:${host}` : `DNS:${host}`)).join(',');
  const common = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ];
  const openssl = (args: readonly string[]): Promise<string> =>
    command('openssl', [...common, ...args], folder);
  await openssl(['-subj', '/CN=Test authority', '-keyout', 'ca.key', '-out', 'ca.pem']);
  await openssl([
    ...[
      '-subj',
      '/CN=Test server',
      '-keyout',
      'server.key',
      '-out',
      'server.pem',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
    ],
    ...['-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
  ]);
  const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
  return {
    caFile: join(folder, 'ca.pem'),
    ca: pem('ca.pem'),
    cert: pem('server.pem'),
    key: pem('server.key'),
    dispose: () => remove(folder),
  };
}
