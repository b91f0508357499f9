/** The files by which `serve` knows itself and its clients: certificate, log-ins, key of tokens. They are read again when they change. */
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import {
  type AccessOptions,
  type LogIns,
  maxHtpasswdBytes,
  minKeyBytes,
  parseHtpasswd,
  type Server,
  type TlsOptions,
} from '@omni-airgap/server';
import { noteExposed } from './keys.ts';
import type { ServeLog } from './serve-log.ts';
import type { CommonFlags, Session } from './session.ts';
import { WatchedFiles } from './watched-files.ts';

export interface ServeFileFlags {
  readonly cert?: string;
  readonly key?: string;
  readonly clientCa?: string;
  readonly htpasswd?: string;
  readonly requireLogin?: true;
  readonly tokenKey?: string;
}

const maxPemBytes = 1024 * 1024;
const maxKeyBytes = 4096;

export class ServeFiles {
  readonly #session: Session;
  readonly #flags: ServeFileFlags & CommonFlags;
  readonly #certificates: WatchedFiles;
  readonly #logIns: WatchedFiles;

  private constructor(
    session: Session,
    flags: ServeFileFlags & CommonFlags,
    certificates: WatchedFiles,
    logIns: WatchedFiles,
  ) {
    this.#session = session;
    this.#flags = flags;
    this.#certificates = certificates;
    this.#logIns = logIns;
  }

  static async of(session: Session, flags: ServeFileFlags & CommonFlags): Promise<ServeFiles> {
    const watched = (...paths: (string | undefined)[]): Promise<WatchedFiles> =>
      WatchedFiles.of(paths.filter((path) => path !== undefined));
    const { cert, key, clientCa, htpasswd } = flags;
    return new ServeFiles(session, flags, await watched(cert, key, clientCa), await watched(htpasswd));
  }

  /** @returns undefined for plain HTTP @throws USAGE when a flag is missing, NO_INPUT */
  async tls(): Promise<TlsOptions | undefined> {
    const { cert, key, clientCa } = this.#flags;
    if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
    if (cert === undefined || key === undefined) {
      throw new CodedError(
        'USAGE',
        clientCa === undefined ? '--cert and --key belong together' : '--client-ca needs --cert and --key',
      );
    }
    await noteExposed('--key', key, this.#session, this.#flags);
    return {
      cert: await readNamedFile('--cert', cert, maxPemBytes),
      key: await readNamedFile('--key', key, maxPemBytes),
      clientCa:
        clientCa === undefined ? undefined : await readNamedFile('--client-ca', clientCa, maxPemBytes),
    };
  }

  /** @returns undefined without log-ins @throws USAGE for flags that need --htpasswd; CONFIG with the line, NO_INPUT */
  async access(): Promise<AccessOptions | undefined> {
    const { htpasswd, tokenKey, requireLogin = false } = this.#flags;
    if (htpasswd === undefined) {
      const flag = requireLogin ? '--require-login' : '--token-key';
      if (requireLogin || tokenKey !== undefined)
        throw new CodedError('USAGE', `${flag} needs --htpasswd FILE`);
      return undefined;
    }
    const logIns = await readLogIns(htpasswd);
    const key = tokenKey === undefined ? undefined : await readTokenKey(tokenKey);
    await noteExposed('--token-key', tokenKey, this.#session, this.#flags);
    return { logIns, requireLogin, tokenKey: key };
  }

  /** Hands what changes to the server. A file that cannot be used leaves what is in use. */
  follow(server: Server, log: ServeLog): void {
    const { cert, htpasswd } = this.#flags;
    const reloading = (what: string, use: () => Promise<void>) => async (): Promise<void> => {
      try {
        await use();
        log.event('info', 'reload', `${what}: reloaded`);
      } catch (error) {
        log.event(
          'error',
          'reload',
          `${what}: not reloaded, the previous content stays in use: ${messageOf(error)}`,
        );
      }
    };
    if (htpasswd !== undefined) {
      const use = async (): Promise<void> => server.setLogIns(await readLogIns(htpasswd));
      this.#logIns.follow(reloading(`--htpasswd ${htpasswd}`, use));
    }
    if (cert !== undefined) {
      const use = async (): Promise<void> => {
        const tls = await this.tls();
        if (tls !== undefined) server.setTls(tls);
      };
      this.#certificates.follow(reloading(`--cert ${cert}`, use));
    }
  }

  end(): void {
    this.#certificates.end();
    this.#logIns.end();
  }
}

async function readLogIns(path: string): Promise<LogIns> {
  return parseHtpasswd(await readNamedFile('--htpasswd', path, maxHtpasswdBytes), `--htpasswd ${path}`);
}

/** What replicas share is the text of the file, without white space around it. */
async function readTokenKey(path: string): Promise<Uint8Array> {
  const bytes = await readNamedFile('--token-key', path, maxKeyBytes);
  const key = Buffer.from(bytes.toString('latin1').trim(), 'latin1');
  if (key.byteLength >= minKeyBytes) return key;
  throw new CodedError(
    'CONFIG',
    `--token-key ${path}: has ${key.byteLength} bytes; make one of at least ${minKeyBytes} with openssl rand -hex 32`,
  );
}
