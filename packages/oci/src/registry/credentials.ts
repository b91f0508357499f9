/**
 * Credentials for registries: where they come from. The files are those of docker and podman; their helpers are
 * `docker-credential-NAME get`, with the registry on standard input.
 * Sources: containers-auth.json(5) of containers/image v5; docker/cli config.json; docker/docker-credential-helpers
 * v0.9 README.md.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError, messageOf } from '../base/errors.ts';
import { type JsonObject, type JsonValue, parseStrictObject } from '../base/json.ts';
import { printable } from '../base/text.ts';
import { readNamedFile } from '../fs/named-file.ts';
import { collect } from '../model/bytes.ts';

/** What a registry or its token server is told to know who asks. */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token. */
  | { readonly kind: 'identity'; readonly token: string };

export interface CredentialSource {
  /**
   * Called for each request that carries a password and for each token, so a source that is slow remembers.
   * @param host registry host as in references, `docker.io` too
   * @param repository path, since credentials may be for a part of a registry only
   * @param refused an earlier answer that the registry refused: forget it and look again
   * @returns undefined when there are none for it
   */
  find(host: string, repository: string, refused?: Credential): Promise<Credential | undefined>;
  /** What `find` looked at, for a message about a refusal. Never a secret. */
  explain?(host: string, repository: string): Promise<CredentialLookup>;
}

/** Where credentials were looked for, and whose were found. */
export interface CredentialLookup {
  /** `user "robot"` or `the identity token`; undefined when there were none. */
  readonly who: string | undefined;
  /** `/root/.docker/config.json, entry registry.site/team`; the files looked in when there were none. */
  readonly where: string;
}

/** The files of docker and podman. */
export interface CredentialFiles {
  readonly paths: readonly string[];
  /** Looked for, and missing. */
  readonly absent: readonly string[];
}

const maxFileBytes = 1024 * 1024;

/** What docker calls its own registry in its files and to its helpers. */
const dockerKey = 'https://index.docker.io/v1/';

/**
 * The files looked at when none is named: REGISTRY_AUTH_FILE alone when set, else those of podman and docker
 * that exist.
 */
export function defaultCredentialFiles(env: Readonly<Record<string, string | undefined>>): CredentialFiles {
  if (env['REGISTRY_AUTH_FILE']) return { paths: [env['REGISTRY_AUTH_FILE']], absent: [] };
  const docker = env['DOCKER_CONFIG'] || (env['HOME'] ? join(env['HOME'], '.docker') : undefined);
  const all = [
    ...(env['XDG_RUNTIME_DIR'] ? [join(env['XDG_RUNTIME_DIR'], 'containers', 'auth.json')] : []),
    ...(docker === undefined ? [] : [join(docker, 'config.json')]),
  ];
  return {
    paths: all.filter((path) => existsSync(path)),
    absent: all.filter((path) => !existsSync(path)),
  };
}

/** Kept, since a helper may ask a person, or a service far away. */
interface HelperAnswer {
  readonly credential: Credential | undefined;
  /** Asked again after it was refused, and still the same: not asked a third time. */
  readonly isFinal: boolean;
}

/**
 * Credentials from files, read when first needed; the first file that has some for a host wins. In a file: a
 * helper for the host, then the longest entry that covers the repository, then the store of all credentials.
 * Each helper is asked once per registry, and once more when its answer was refused.
 * Errors of `find`: CONFIG when a file or helper cannot be used.
 * @param signal ends helpers that are running
 */
export function credentialsFromFiles(
  { paths, absent }: CredentialFiles,
  signal?: AbortSignal,
): CredentialSource {
  let files: Promise<readonly CredentialFile[]> | undefined;
  const answers = new Map<string, Promise<HelperAnswer>>();

  const askHelper = async (
    name: unknown,
    server: string,
    refused: Credential | undefined,
  ): Promise<Credential | undefined> => {
    const key = `${name} ${server}`;
    for (;;) {
      const known = answers.get(key);
      if (known !== undefined) {
        const { credential, isFinal } = await known;
        if (refused === undefined || isFinal || !isSame(credential, refused)) return credential;
        // Another request may have begun to ask again meanwhile.
        if (answers.get(key) !== known) continue;
      }
      const asking = credentialFromHelper(name, server, signal).then((credential) => ({
        credential,
        isFinal: refused !== undefined && isSame(credential, refused),
      }));
      answers.set(key, asking);
      return (await asking).credential;
    }
  };

  const look = async (host: string, repository: string, refused?: Credential): Promise<Found | undefined> => {
    if (refused !== undefined) files = undefined;
    files ??= Promise.all(paths.map(readCredentialFile));
    for (const file of await files) {
      const found = await findIn(file, host, repository, (name, server) => askHelper(name, server, refused));
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    async find(host, repository, refused) {
      return (await look(host, repository, refused))?.credential;
    },
    async explain(host, repository) {
      const found = await look(host, repository);
      if (found !== undefined) {
        const { credential, from } = found;
        const isPassword = credential.kind === 'password';
        const who = isPassword ? `user "${printable(credential.username, 100)}"` : 'the identity token';
        return { who, where: printable(from, 300) };
      }
      const where =
        paths.length > 0
          ? paths.join(' or ')
          : absent.map((path) => `${path} (missing)`).join(' or ') || 'any file: HOME is not set';
      return { who: undefined, where };
    },
  };
}

/** True for two credentials that a registry cannot tell apart. */
export function isSame(a: Credential | undefined, b: Credential | undefined): boolean {
  if (a?.kind === 'identity') return b?.kind === 'identity' && a.token === b.token;
  return a?.kind === b?.kind && a?.username === b?.username && a?.password === b?.password;
}

interface Found {
  readonly credential: Credential;
  /** File and entry, or the helper, for people. */
  readonly from: string;
}

interface CredentialFile {
  readonly path: string;
  readonly auths: JsonObject;
  readonly helpers: JsonObject;
  readonly store: JsonValue | undefined;
}

async function readCredentialFile(path: string): Promise<CredentialFile> {
  try {
    const bytes = await readNamedFile('file', path, maxFileBytes);
    const doc = parseStrictObject(bytes, { what: path });
    return { path, auths: mapOf(doc['auths']), helpers: mapOf(doc['credHelpers']), store: doc['credsStore'] };
  } catch (cause) {
    throw new CodedError('CONFIG', `registry credentials cannot be read: ${messageOf(cause)}`, { cause });
  }
}

async function findIn(
  file: CredentialFile,
  host: string,
  repository: string,
  askHelper: (name: unknown, server: string) => Promise<Credential | undefined>,
): Promise<Found | undefined> {
  const server = host === 'docker.io' ? dockerKey : host;
  const fromHelper = async (name: JsonValue): Promise<Found | undefined> => {
    const credential = await askHelper(name, server);
    const from = `docker-credential-${name}, named in ${file.path}`;
    return credential === undefined ? undefined : { credential, from };
  };
  const helper = file.helpers[server] ?? file.helpers[host];
  if (helper !== undefined) return fromHelper(helper);
  for (const key of keysFor(Object.keys(file.auths), host, repository)) {
    const credential = credentialOf(file.auths[key], `${file.path}: entry ${key}`);
    if (credential !== undefined) return { credential, from: `${file.path}, entry ${key}` };
  }
  return file.store === undefined || file.store === '' ? undefined : fromHelper(file.store);
}

/**
 * Keys of `auths` from the closest to the widest: `host/a/b`, `host/a`, `host`, then the older forms for a whole
 * registry, which are URLs. Source: containers/image v5 pkg/docker/config normalizeAuthFileKey, docker/cli
 * config/credentials ConvertToHostname: of a URL only the host counts.
 */
function keysFor(known: readonly string[], host: string, repository: string): readonly string[] {
  const parts = repository === '' ? [] : repository.split('/');
  const scoped = parts.map((_, i) => [host, ...parts.slice(0, parts.length - i)].join('/'));
  return [...scoped, host, ...known.filter((key) => key !== host && registryOf(key) === host)];
}

/** The registry that an entry is for as a whole; undefined for one of a part of it. */
function registryOf(key: string): string | undefined {
  const [, rest] = /^https?:\/\/(.*)$/.exec(key) ?? [];
  const name = rest === undefined ? key : rest.split('/')[0];
  return name === 'index.docker.io' || name === 'registry-1.docker.io' ? 'docker.io' : name;
}

/** An entry as docker and podman write it; an empty one, left behind by a helper, is none. */
function credentialOf(entry: JsonValue | undefined, where: string): Credential | undefined {
  const { auth, identitytoken, username, password } = mapOf(entry);
  if (typeof identitytoken === 'string' && identitytoken !== '') {
    return { kind: 'identity', token: identitytoken };
  }
  if (typeof username === 'string' && typeof password === 'string') {
    return { kind: 'password', username, password };
  }
  if (typeof auth !== 'string' || auth === '') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw new CodedError('CONFIG', `${where}: auth is not base64 of user:password`);
  return { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function mapOf(value: JsonValue | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? value
    : (Object.create(null) as JsonObject);
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const maxAnswerBytes = 64 * 1024;
const timeoutMs = 30_000;
/** What the protocol prints, with a status other than 0, when it has nothing. */
const notFound = 'credentials not found in native keychain';

/**
 * Runs a helper.
 * @param name from a configuration file, unchecked
 * @param server what the helper is asked for
 * @throws CONFIG when the helper cannot be run, takes too long or answers nonsense
 */
async function credentialFromHelper(
  name: unknown,
  server: string,
  signal?: AbortSignal,
): Promise<Credential | undefined> {
  if (typeof name !== 'string' || !namePattern.test(name)) {
    throw new CodedError('CONFIG', `not the name of a credential helper: ${printable(String(name))}`);
  }
  const program = `docker-credential-${name}`;
  const bad = (what: string, cause?: unknown): CodedError =>
    new CodedError('CONFIG', `${program} get for ${server}: ${what}`, { cause });
  const child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    signal,
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  // A helper that does not read its input is no error of the pipe's.
  child.stdin.on('error', () => undefined).end(server);
  const [answer, status] = await Promise.all([
    collect(child.stdout as AsyncIterable<Uint8Array>, maxAnswerBytes, program),
    exited,
  ]).catch((cause: unknown) => {
    child.kill('SIGKILL');
    throw bad('it cannot be run or says too much', cause);
  });
  if (status !== 0) {
    if (Buffer.from(answer).toString('utf8').trim() === notFound) return undefined;
    throw bad(status === null ? 'it did not answer in time' : `it ends with status ${status}`);
  }
  const { Username: username, Secret: secret } = parseStrictObject(answer, { what: program });
  if (typeof username !== 'string' || typeof secret !== 'string') throw bad('no user name or secret');
  return username === '<token>'
    ? { kind: 'identity', token: secret }
    : { kind: 'password', username, password: secret };
}
