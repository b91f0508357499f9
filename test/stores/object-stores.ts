/** The object stores of the suite, each with one user and no bucket. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startCeph } from '../services/ceph.ts';
import type { S3Key } from '../services/signed-fetch.ts';
import { type Program, startServer } from './program.ts';

export interface ObjectStoreProgram extends Program {
  /** Signatures are checked. */
  readonly authenticates: boolean;
  /** Bytes are compared with the hash that was signed. */
  readonly comparesBytes: boolean;
  /** Parts of unfinished uploads are listed, so that an upload goes on with the next part. */
  readonly listsParts: boolean;
  /** It makes users, who may do what bucket policies say. */
  readonly hasPolicies?: true;
  /** It keeps objects for as long as a default retention of the bucket says. */
  readonly hasRetention?: true;
  /** The name of its host, before which the bucket may stand. */
  readonly domain?: string;
  start(path: string): Promise<RunningObjectStore>;
}

export interface RunningObjectStore {
  readonly url: string;
  readonly host: string;
  readonly key: S3Key;
  /** Another user; only where the store has policies. */
  createUser?(name: string): Promise<S3Key>;
  stop(): Promise<void>;
}

const key: S3Key = { region: 'us-east-1', accessKeyId: 'TESTACCESSKEY', secretAccessKey: 'only-for-tests' };
/** s3rver has this user and no other. */
const s3rverKey: S3Key = { ...key, accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };

export const objectStores: readonly ObjectStoreProgram[] = [
  {
    name: 'Ceph RGW',
    command: 'radosgw',
    inCi: true,
    versionFlag: '--version',
    authenticates: true,
    comparesBytes: true,
    listsParts: true,
    hasPolicies: true,
    hasRetention: true,
    domain: 's3.localhost',
    async start() {
      const gateway = await startCeph();
      return { ...gateway, host: new URL(gateway.url).host, key: gateway };
    },
  },
  {
    // Does not list unfinished uploads (501), nor what they have (405); reads of a signature only whose it is.
    name: 's3rver',
    command: join(import.meta.dirname, '..', 'services', 's3rver', 'node_modules', '.bin', 's3rver'),
    inCi: true,
    versionFlag: '--version',
    authenticates: false,
    comparesBytes: false,
    listsParts: false,
    start: (program) =>
      withKey(s3rverKey, 's3rver', (folder, port) => [
        ...([program, '--directory', folder, '--address', '127.0.0.1', '--port', String(port)] as const),
        '--no-vhost-buckets',
      ]),
  },
  {
    name: 'moto',
    command: 'moto_server',
    authenticates: false,
    comparesBytes: false,
    listsParts: true,
    start: (program) =>
      withKey(key, 'moto', (_, port) => [program, '--host', '127.0.0.1', '--port', String(port)]),
  },
  {
    name: 'versitygw',
    command: 'versitygw',
    versionFlag: '--version',
    authenticates: true,
    comparesBytes: true,
    listsParts: true,
    start: (program) =>
      withKey(key, 'versitygw', (folder, port) => [
        ...([program, '--access', key.accessKeyId, '--secret', key.secretAccessKey] as const),
        ...['--port', `127.0.0.1:${port}`, 'posix', folder],
      ]),
  },
  {
    name: 's3proxy',
    command: 's3proxy',
    versionFlag: '--version',
    authenticates: true,
    comparesBytes: true,
    listsParts: true,
    start: (program) =>
      withKey(key, 's3proxy', (folder, port) => {
        const properties = [
          `s3proxy.endpoint=http://127.0.0.1:${port}`,
          's3proxy.authorization=aws-v2-or-v4',
          `s3proxy.identity=${key.accessKeyId}`,
          `s3proxy.credential=${key.secretAccessKey}`,
          'jclouds.provider=filesystem',
          `jclouds.filesystem.basedir=${folder}`,
        ];
        const file = join(folder, 's3proxy.conf');
        writeFileSync(file, properties.join('\n'));
        return [program, '--properties', file];
      }),
  },
  {
    name: 'Adobe S3Mock',
    command: 's3mock',
    authenticates: false,
    comparesBytes: false,
    listsParts: true,
    start: (program) =>
      withKey(key, 's3mock', (folder, port) => [
        ...([program, '--server.port=0', `--http.port=${port}`, '--server.address=127.0.0.1'] as const),
        `--com.adobe.testing.s3mock.store.root=${folder}`,
      ]),
  },
];

async function withKey(
  key: S3Key,
  ...[name, command]: Parameters<typeof startServer>
): Promise<RunningObjectStore> {
  return { ...(await startServer(name, command)), key };
}
