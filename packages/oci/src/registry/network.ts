/**
 * The network as one command uses it: the gate with its policy, the credentials, a client for each registry. Made
 * once from what the user said, closed at the end.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { readNamedFile } from '../fs/named-file.ts';
import { HttpGate, type SlowHosts } from '../http/gate.ts';
import { parseHostPattern } from '../http/host.ts';
import { Pacing } from '../http/pacing.ts';
import { isPlainHttp, parseUpstream } from '../http/policy.ts';
import type { ProxySettings } from '../http/proxy.ts';
import { defaultRateFloor } from '../http/rate.ts';
import type { EgressSink } from '../http/record.ts';
import type { RetryOptions } from '../http/retry.ts';
import { isRegistryHost } from '../model/reference.ts';
import { RegistryClient } from './client.ts';
import { type ClientCertificateFiles, readClientCertificate } from './client-certificate.ts';
import { credentialsFromFiles, defaultCredentialFiles } from './credentials.ts';
import { basic } from './token.ts';

/** The networking flags of every command, as they were given. */
export interface NetworkSettings extends ClientCertificateFiles {
  /** `HOST=URL`. */
  readonly upstreams: readonly string[];
  readonly allowHosts: readonly string[];
  readonly plainHttp: readonly string[];
  /** Path of a PEM file. */
  readonly caCert?: string | undefined;
  /** Path of an auth.json. */
  readonly registryConfig?: string | undefined;
  readonly proxy?: ProxySettings | undefined;
  /** Bytes per second below which a transfer is given up and tried again; 0 for none. Default 1 KiB/s over 60 s. */
  readonly minRate?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface NetworkScope {
  /** Hosts that may be reached besides those the settings name. */
  readonly hosts: readonly string[];
  /** Those of them that are shown the client certificate; default none. */
  readonly identifyTo?: readonly string[] | undefined;
  /** Whether names may lead to private addresses: inside yes, outside no. */
  readonly allowPrivate: boolean;
  readonly egressLog?: EgressSink | undefined;
  /** Connections to one host at a time. */
  readonly connections?: number | undefined;
  /** Outside: hold back where a host says that it is busy, for all requests to it. */
  readonly pacing?: boolean | undefined;
  readonly slowHosts?: SlowHosts | undefined;
  /** True: a transfer that nobody reads holds little memory, since there may be a thousand of them. Default false. */
  readonly lean?: boolean | undefined;
  /** Milliseconds until the headers of an answer must be there; default as the gate. */
  readonly headersTimeoutMs?: number | undefined;
  /** Attempts for what may pass by itself; default 6, which span about half a minute. */
  readonly tries?: number | undefined;
  /** Told what is tried again, and the host of the registry. */
  readonly onRetry?: (...retry: readonly [...Parameters<RetryOptions['onRetry'] & {}>, host: string]) => void;
  /** Told what registries do wrong and was accepted nevertheless, and what is wrong with the client certificate. */
  readonly onNote?: ((text: string) => void) | undefined;
}

/** The network of one command. Close it at the end. */
export interface Network {
  readonly gate: HttpGate;
  /** @param host as in a reference: `ghcr.io`, `10.0.0.5:5000` */
  registry(host: string): RegistryClient;
  /** The Authorization header with the password for a host, for what is no registry; undefined where none is known. */
  password(host: string): Promise<string | undefined>;
  close(): Promise<void>;
}

/** A chunk, as it comes off a socket. */
const leanReadAhead = 64 * 1024;
/** The authorities of a whole system have a few hundred kilobytes. */
const maxAuthorityBytes = 4 * 1024 * 1024;

/** @throws USAGE, CONFIG, NO_INPUT for settings that cannot be used */
export async function openNetwork(settings: NetworkSettings, scope: NetworkScope): Promise<Network> {
  const upstreams = settings.upstreams.map(parseUpstream);
  const plainHttp = settings.plainHttp.map(parsePlainHost);
  const trusted = settings.allowHosts.map(parseHostPattern);
  const certificate = await readClientCertificate(settings, scope.onNote);
  const gate = new HttpGate({
    policy: {
      hosts: [...new Set([...scope.hosts.map(parseHostPattern), ...trusted, ...plainHttp])],
      plainHttp,
      allowPrivate: scope.allowPrivate,
      upstreams,
    },
    ca: await readAuthorities(settings),
    clientCertificate:
      certificate === undefined ? undefined : { ...certificate, hosts: scope.identifyTo ?? [] },
    proxy: settings.proxy,
    egressLog: scope.egressLog,
    connections: scope.connections,
    slowHosts: scope.slowHosts,
    headersTimeoutMs: scope.headersTimeoutMs,
    readAhead: scope.lean === true ? leanReadAhead : undefined,
    blockReader: scope.lean !== true && settings.env['OMNI_AIRGAP_BLOCK_READER'] !== '0',
    rateFloor: {
      ...defaultRateFloor,
      ...(settings.minRate === undefined ? {} : { bytesPerSecond: settings.minRate }),
    },
    pacing: scope.pacing === true ? new Pacing() : undefined,
  });
  const files =
    settings.registryConfig === undefined
      ? defaultCredentialFiles(settings.env)
      : { paths: [settings.registryConfig], absent: [] };
  const closing = new AbortController();
  const credentials = credentialsFromFiles(files, closing.signal);
  const clients = new Map<string, RegistryClient>();
  return {
    gate,
    registry(host) {
      let client = clients.get(host);
      if (client === undefined) {
        client = new RegistryClient({
          gate,
          host,
          credentials,
          plainHttp: isPlainHttp(plainHttp, host),
          trustedRealms: trusted,
          tries: scope.tries,
          retry: { onRetry: (...retry) => scope.onRetry?.(...retry, host) },
          onNote: scope.onNote,
        });
        clients.set(host, client);
      }
      return client;
    },
    async password(host) {
      const found = await credentials.find(host, '');
      return found?.kind === 'password' ? basic(found) : undefined;
    },
    close() {
      closing.abort();
      return gate.close();
    },
  };
}

/** @throws USAGE for what a person may write instead of a host */
function parsePlainHost(text: string): string {
  if (isRegistryHost(text)) return text;
  const hint = text.includes('://') ? ', without http://' : '';
  throw new CodedError('USAGE', `--plain-http ${printable(text)}: write HOST[:PORT]${hint}`);
}

/** Authorities that are trusted besides those of Node.js and the system. Source of SSL_CERT_FILE: OpenSSL, Go. */
async function readAuthorities({ caCert, env }: NetworkSettings): Promise<readonly string[]> {
  const file = env['SSL_CERT_FILE'] ?? '';
  return [
    ...(caCert === undefined ? [] : [await readPem('--ca-cert', caCert)]),
    ...(file === '' ? [] : [await readPem('SSL_CERT_FILE', file)]),
  ];
}

/** @param where the flag or variable that names the file */
async function readPem(where: string, path: string): Promise<string> {
  const pem = (await readNamedFile(where, path, maxAuthorityBytes)).toString('latin1');
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new CodedError('CONFIG', `${where} ${path}: holds no PEM certificate`);
  }
  return pem;
}
