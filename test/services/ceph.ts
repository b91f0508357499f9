/** A real S3 object store: the gateway of a one-node Ceph, everything in memory, on loopback. Ready in about 15 s. */
import { join } from 'node:path';
import { command } from './command.ts';
import { requireCommands } from './require.ts';
import { freePorts, startProcess } from './server-process.ts';
import { type S3Key, type S3Request, signedFetch } from './signed-fetch.ts';
import { remove, temporaryFolder } from './temporary.ts';

export interface CephGateway extends S3Key {
  readonly url: string;
  readonly port: number;
  /** Of the script that started its daemons, which are its children. */
  readonly pid: number;
  /** A signed request. @param path `BUCKET[/KEY][?QUERY]`, encoded */
  request(path: string, request?: S3Request): Promise<Response>;
  /** @throws unless the gateway says that it made it */
  createBucket(name: string): Promise<void>;
  /** Another user, who may do what bucket policies say. */
  createUser(name: string): Promise<S3Key>;
  stop(): Promise<void>;
}

/** The programs it needs, for `describeWith`. */
export const cephCommands: readonly string[] = ['ceph-mon', 'ceph-osd', 'radosgw'];

/** @throws MissingService without Ceph */
export async function startCeph(): Promise<CephGateway> {
  requireCommands(...cephCommands);
  const folder = temporaryFolder('ceph');
  const [port = 0, monitorPort = 0] = await freePorts(2);
  const accessKeyId = 'TESTACCESSKEY';
  const secretAccessKey = 'only-for-tests';
  const script = join(import.meta.dirname, 'ceph-rgw.sh');
  const server = startProcess(
    ['bash', script, folder, String(port), String(monitorPort), accessKeyId, secretAccessKey],
    join(folder, 'start.log'),
  );
  const stop = async (): Promise<void> => {
    await server.stop();
    remove(folder);
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await server.until(() => (/^ready$/m.test(server.output()) ? true : undefined), 120_000);
    await server.until(async () => {
      const response = await fetch(url).catch(() => undefined);
      await response?.body?.cancel();
      return response?.ok === true ? true : undefined;
    }, 60_000);
  } catch (error) {
    await stop();
    throw error;
  }
  const key: S3Key = { region: 'us-east-1', accessKeyId, secretAccessKey };
  const request: CephGateway['request'] = (path, options) =>
    signedFetch(new URL(path, `${url}/`), key, options);
  return {
    url,
    port,
    pid: server.pid,
    ...key,
    request,
    async createUser(name) {
      const user: S3Key = {
        region: key.region,
        accessKeyId: `KEYOF${name}`,
        secretAccessKey: secretAccessKey,
      };
      const keys = [`--access-key=${user.accessKeyId}`, `--secret-key=${user.secretAccessKey}`];
      await command('env', [
        `CEPH_CONF=${join(folder, 'ceph.conf')}`,
        ...['radosgw-admin', 'user', 'create', `--uid=${name}`, `--display-name=${name}`, ...keys],
      ]);
      return user;
    },
    async createBucket(name) {
      const answer = await request(name, { method: 'PUT' });
      if (answer.status !== 200) throw new Error(`bucket ${name}: ${answer.status} ${await answer.text()}`);
    },
    stop,
  };
}
