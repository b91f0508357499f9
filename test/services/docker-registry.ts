/**
 * A real registry: Debian's docker-registry (Distribution 2.8), or a newer one, on a port of its own choice, with its
 * data in a temporary folder or in a bucket. With a bucket, blobs are answered by redirects to the object store.
 * Source: distribution v2.8.2 docs/configuration.md.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CephGateway } from './ceph.ts';
import { requireCommands } from './require.ts';
import { startProcess } from './server-process.ts';
import { remove, temporaryFolder } from './temporary.ts';
import type { Login, TokenServer } from './token-server.ts';

export interface Registry {
  /** `127.0.0.1:PORT`, as it stands in references. */
  readonly host: string;
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What may push; undefined when anyone may. */
  readonly login: Login | undefined;
  /** Path of its configuration, and folder of its data where it is in one. */
  readonly configuration: string;
  readonly data: string;
  /** Its log so far, a line for each request among it. */
  log(): string;
  stop(): Promise<void>;
}

export interface RegistryOptions {
  /** The path of a newer one; Debian's when left out. */
  readonly program?: string;
  /** Who may come in; anyone when left out. `htpasswd`: one user, or those of a file, for pull too. */
  readonly auth?: 'htpasswd' | { readonly htpasswd: string } | TokenServer;
  /** Paths of PEM files; plain HTTP when left out. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** False: it deletes nothing, as without a setting. Default true. */
  readonly deletes?: boolean;
  /** A bucket that is there; a folder when left out. */
  readonly storage?: { readonly gateway: CephGateway; readonly bucket: string };
  /** What its command begins with to run elsewhere, such as in a network namespace. */
  readonly within?: readonly string[];
  /** Port on 127.0.0.1; one of its own choice when left out. */
  readonly port?: number;
}

/** The one user of `auth: 'htpasswd'`, and the bcrypt hash of the password. */
const htpasswdLogin: Login = { user: 'site', password: 'airgap-secret' };
const htpasswdHash = '$2y$05$abcdefghijklmnopqrstuu3lliEbyZdp/Vr4h8YmmadL1j1yZ986y';

/** @throws MissingService without docker-registry */
export async function startRegistry({
  program = 'docker-registry',
  auth,
  storage,
  tls,
  within = [],
  port: chosen = 0,
  deletes = true,
}: RegistryOptions = {}): Promise<Registry> {
  if (program === 'docker-registry') requireCommands(program);
  const folder = temporaryFolder('registry');
  writeFileSync(join(folder, 'htpasswd'), `${htpasswdLogin.user}:${htpasswdHash}\n`);
  // The configuration is YAML, of which JSON is a part.
  const configuration = {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: false } },
    http: { addr: `127.0.0.1:${chosen}`, secret: 'only-for-tests', ...(tls === undefined ? {} : { tls }) },
    storage: { ...storageSection(folder, storage), ...(deletes ? { delete: { enabled: true } } : {}) },
    ...(auth === undefined ? {} : { auth: authSection(folder, auth) }),
  };
  const configFile = join(folder, 'config.yml');
  writeFileSync(configFile, JSON.stringify(configuration));
  const [first = program, ...rest] = [...within, program, 'serve', configFile];
  const server = startProcess([first, ...rest], join(folder, 'registry.log'));
  const stop = async (): Promise<void> => {
    await server.stop();
    remove(folder);
  };
  try {
    const port = await server.until(() => {
      const listening = /listening on 127\.0\.0\.1:(\d+)/.exec(server.output())?.[1];
      return listening === undefined ? undefined : Number(listening);
    }, 15_000);
    const host = `127.0.0.1:${port}`;
    const login =
      auth === 'htpasswd' ? htpasswdLogin : auth !== undefined && 'login' in auth ? auth.login : undefined;
    return {
      host,
      url: `${tls === undefined ? 'http' : 'https'}://${host}`,
      port,
      pid: server.pid,
      login,
      configuration: configFile,
      data: join(folder, 'data'),
      log: server.output,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function storageSection(folder: string, storage: RegistryOptions['storage']): Record<string, unknown> {
  if (storage === undefined) return { filesystem: { rootdirectory: join(folder, 'data') } };
  const { gateway, bucket } = storage;
  return {
    s3: {
      accesskey: gateway.accessKeyId,
      secretkey: gateway.secretAccessKey,
      region: gateway.region,
      regionendpoint: gateway.url,
      bucket,
      secure: false,
    },
    redirect: { disable: false },
  };
}

function authSection(folder: string, auth: NonNullable<RegistryOptions['auth']>): Record<string, unknown> {
  const realm = 'test-registry';
  if (auth === 'htpasswd') return { htpasswd: { realm, path: join(folder, 'htpasswd') } };
  if ('htpasswd' in auth) return { htpasswd: { realm, path: auth.htpasswd } };
  const { url, service, issuer, rootCertBundle } = auth;
  return { token: { realm: url, service, issuer, rootcertbundle: rootCertBundle } };
}
