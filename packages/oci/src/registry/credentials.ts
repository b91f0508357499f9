/**
 * Credentials for registries: where they come from. The files are those of docker and podman.
 * Sources: containers-auth.json(5) of containers/image v5; docker/cli config.json.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, messageOf } from '../base/errors.ts';
import { type JsonObject, type JsonValue, parseStrictObject } from '../base/json.ts';
import type { Credential } from './credential.ts';
import { credentialFromHelper } from './credential-helper.ts';

export interface CredentialSource {
  /**
   * @param host registry host as in references, `docker.io` too
   * @param repository path, since credentials may be for a part of a registry only
   * @returns undefined when there are none for it
   */
  find(host: string, repository: string, signal?: AbortSignal): Promise<Credential | undefined>;
}

const maxFileBytes = 1024 * 1024;

/** What docker calls its own registry in its files and to its helpers. */
const dockerKey = 'https://index.docker.io/v1/';

/**
 * The files looked at when none is named: REGISTRY_AUTH_FILE alone when set, else those of podman and docker
 * that exist.
 */
export function defaultCredentialFiles(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  if (env['REGISTRY_AUTH_FILE']) return [env['REGISTRY_AUTH_FILE']];
  const docker = env['DOCKER_CONFIG'] || (env['HOME'] ? join(env['HOME'], '.docker') : undefined);
  return [
    ...(env['XDG_RUNTIME_DIR'] ? [join(env['XDG_RUNTIME_DIR'], 'containers', 'auth.json')] : []),
    ...(docker === undefined ? [] : [join(docker, 'config.json')]),
  ].filter((path) => existsSync(path));
}

/**
 * Credentials from files, read when first needed; the first file that has some for a host wins. In a file: a
 * helper for the host, then the longest entry that covers the repository, then the store of all credentials.
 * Errors of `find`: CONFIG when a file or helper cannot be used.
 */
export function credentialsFromFiles(paths: readonly string[]): CredentialSource {
  let files: Promise<readonly CredentialFile[]> | undefined;
  return {
    async find(host, repository, signal) {
      files ??= Promise.all(paths.map(readCredentialFile));
      for (const file of await files) {
        const found = await findIn(file, host, repository, signal);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}

interface CredentialFile {
  readonly path: string;
  readonly auths: JsonObject;
  readonly helpers: JsonObject;
  readonly store: JsonValue | undefined;
}

async function readCredentialFile(path: string): Promise<CredentialFile> {
  try {
    const bytes = await readFile(path);
    if (bytes.byteLength > maxFileBytes) throw new Error('more than 1 MiB');
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
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const server = host === 'docker.io' ? dockerKey : host;
  const helper = file.helpers[server] ?? file.helpers[host];
  if (helper !== undefined) return credentialFromHelper(helper, server, signal);
  for (const key of keysFor(host, repository)) {
    const found = credentialOf(file.auths[key], `${file.path}: entry ${key}`);
    if (found !== undefined) return found;
  }
  return file.store === undefined || file.store === ''
    ? undefined
    : credentialFromHelper(file.store, server, signal);
}

/** Keys of `auths` from the closest to the widest: `host/a/b`, `host/a`, `host`, then docker's older forms. */
function keysFor(host: string, repository: string): readonly string[] {
  const parts = repository === '' ? [] : repository.split('/');
  const keys = parts.map((_, i) => [host, ...parts.slice(0, parts.length - i)].join('/'));
  const older = host === 'docker.io' ? [dockerKey, 'index.docker.io', 'registry-1.docker.io'] : [];
  return [
    ...keys,
    host,
    ...older,
    `https://${host}`,
    `https://${host}/`,
    `https://${host}/v1/`,
    `https://${host}/v2/`,
  ];
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
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}
