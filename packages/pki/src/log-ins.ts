/**
 * Passwords of people and of the registry, by bcrypt. dex accepts costs of 10 to 16; docker-registry accepts nothing but
 * bcrypt in its htpasswd file. bcrypt reads 72 bytes and ignores what follows, so longer passwords are refused.
 * Sources: dexidp/dex server/server.go (checkCost), distribution/distribution registry/auth/htpasswd.
 */
import { randomBytes } from 'node:crypto';
import { CodedError } from '@omni-airgap/oci/base';
import bcrypt from 'bcryptjs';

const cost = 12;
const [leastCost, mostCost] = [10, 16];
const maxBytes = 72;
const minCharacters = 8;

/** @throws USAGE for a password that bcrypt would cut, or that is too short; the message does not show it */
export function checkPassword(password: string, what: string): void {
  const bytes = Buffer.byteLength(password);
  if (bytes > maxBytes)
    throw new CodedError('USAGE', `${what}: has ${bytes} bytes; bcrypt reads no more than ${maxBytes}`);
  if ([...password].length < minCharacters)
    throw new CodedError('USAGE', `${what}: use at least ${minCharacters} characters`);
  if (/\p{Cc}/u.test(password)) throw new CodedError('USAGE', `${what}: contains a control character`);
}

/** A password of 24 characters for a file, 144 random bits. */
export function newPassword(): string {
  return randomBytes(18).toString('base64url');
}

/** In the spelling of htpasswd (`$2y$`), which every reader of these files knows. */
export async function passwordHash(password: string): Promise<string> {
  return (await bcrypt.hash(password, cost)).replace(/^\$2b\$/, '$2y$');
}

/** @returns why dex would refuse it, undefined when it would not */
export function faultOfHash(hash: string): string | undefined {
  const found = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/.exec(hash)?.[1];
  if (found === undefined) return 'is not a bcrypt hash';
  if (Number(found) >= leastCost && Number(found) <= mostCost) return undefined;
  return `has a bcrypt cost of ${Number(found)}; dex accepts ${leastCost} to ${mostCost}`;
}

/** Credentials as docker and podman keep them, for --registry-config. */
export function registryAuth(host: string, user: string, password: string): string {
  const auth = Buffer.from(`${user}:${password}`).toString('base64');
  return `${JSON.stringify({ auths: { [host]: { auth } } }, undefined, 2)}\n`;
}
