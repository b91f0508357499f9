/**
 * Who may log in: the lines of an htpasswd file, with bcrypt hashes and no others, as docker-registry and `site init`
 * have them. Weaker kinds (crypt, MD5, SHA-1) can be guessed at thousands of times the rate.
 * Source: Apache httpd 2.4 docs/manual/misc/password_encryptions.
 */
import { CodedError, printable } from '@omni-airgap/oci/base';
import { textOf } from '@omni-airgap/oci/fs';

/** user -> bcrypt hash */
export type LogIns = ReadonlyMap<string, string>;

export const maxHtpasswdBytes: number = 1024 * 1024;
const hashPattern = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/;
/** Each step doubles the work. Beyond this one, a single log-in takes many seconds. */
const mostCost = 16;
const leastCost = 4;
const maxUserLength = 255;

/**
 * @param path begins each message
 * @throws CONFIG with the line for one that is no `user:hash`, a hash of another kind or a user that is named twice; the
 * message never shows the hash
 */
export function parseHtpasswd(bytes: Uint8Array, path: string): LogIns {
  const logIns = new Map<string, string>();
  const lineOf = new Map<string, number>();
  for (const [i, line] of textOf(bytes, path).split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const bad = (why: string): CodedError => new CodedError('CONFIG', `${path}:${i + 1}: ${why}`);
    const colon = line.indexOf(':');
    const user = line.slice(0, Math.max(colon, 0));
    if (user === '' || user.length > maxUserLength || /\p{Cc}/u.test(user))
      throw bad('is not USER:HASH; write lines with htpasswd -B');
    const hash = line.slice(colon + 1).trimEnd();
    const cost = Number(hashPattern.exec(hash)?.[1]);
    if (Number.isNaN(cost))
      throw bad(`the hash of ${printable(user)} is not bcrypt; write the line with htpasswd -B`);
    if (cost < leastCost || cost > mostCost)
      throw bad(
        `the hash of ${printable(user)} has a cost of ${cost}; use one of ${leastCost} to ${mostCost}`,
      );
    const before = lineOf.get(user);
    if (before !== undefined) throw bad(`${printable(user)} is on line ${before} too; keep one of the two`);
    lineOf.set(user, i + 1);
    logIns.set(user, hash);
  }
  if (logIns.size === 0) throw new CodedError('CONFIG', `${path}: has no log-in; add one with htpasswd -B`);
  return logIns;
}
