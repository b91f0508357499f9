/**
 * Credential helpers: `docker-credential-NAME get`, with the registry on standard input.
 * Source: docker/docker-credential-helpers v0.9 README.md.
 */
import { spawn } from 'node:child_process';
import { CodedError } from '../base/errors.ts';
import { parseStrictObject } from '../base/json.ts';
import { printable } from '../base/printable.ts';
import { collect } from '../model/bytes.ts';
import type { Credential } from './credential.ts';

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const maxAnswerBytes = 64 * 1024;
const timeoutMs = 30_000;
/** What the protocol prints, with a status other than 0, when it has nothing. */
const notFound = 'credentials not found in native keychain';

/**
 * @param name from a configuration file, unchecked
 * @param server what the helper is asked for
 * @throws CONFIG when the helper cannot be run, takes too long or answers nonsense
 */
export async function credentialFromHelper(
  name: unknown,
  server: string,
  signal?: AbortSignal,
): Promise<Credential | undefined> {
  if (typeof name !== 'string' || !namePattern.test(name)) {
    throw new CodedError('CONFIG', `not the name of a credential helper: ${printable(String(name))}`);
  }
  const program = `docker-credential-${name}`;
  const bad = (what: string, cause?: unknown): CodedError =>
    new CodedError('CONFIG', `${program} get for ${server}: ${what}`, cause === undefined ? {} : { cause });
  const child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    ...(signal === undefined ? {} : { signal }),
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
