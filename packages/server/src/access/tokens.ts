/**
 * Bearer tokens of this registry: signed by a key that its replicas share, kept nowhere. A token of a user ends with the
 * user's password hash too, which is part of what is signed: whoever is removed or gets a new password is out at once.
 * Sources: RFC 7519 and RFC 7515 (HS256); the claim `scope` is that of RFC 8693 section 4.2.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isCoded, parseStrictObject } from '@omni-airgap/oci/base';
import { parseScopes, type Scope, scopeText } from './scope.ts';

/** What a request may do. */
export interface Grant {
  /** Left out: someone who has not logged in. */
  readonly user?: string | undefined;
  readonly scopes: readonly Scope[];
}

export interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  /** Seconds. */
  readonly expiresIn: number;
}

/** Seconds: long enough for a layer on a slow line, which some clients push without asking for another token. */
const life = 900;
/** Seconds that the clocks of replicas may differ by. */
const skew = 60;
/** Requests have 16 KiB for all their headers. */
const maxTokenLength = 12 * 1024;
/** Bytes of a key: as long as the hash, see RFC 7518 section 3.2. */
export const minKeyBytes = 32;

/** No other algorithm is ever read, so none can be chosen by whoever sends a token. */
const header = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url');
const tokenPattern = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

export class Tokens {
  readonly #key: Uint8Array;
  readonly #hashOf: (user: string) => string | undefined;
  readonly #now: () => number;

  /**
   * @param key left out: one that ends with the process
   * @param hashOf the password hash of a user who may log in
   * @param now milliseconds since the epoch
   */
  constructor(key: Uint8Array | undefined, hashOf: (user: string) => string | undefined, now: () => number) {
    this.#key = key ?? randomBytes(minKeyBytes);
    this.#hashOf = hashOf;
    this.#now = now;
  }

  /** @returns undefined when it has so many scopes that no request could carry it */
  issue({ user, scopes }: Grant): Token | undefined {
    const issuedAt = this.#now();
    const iat = Math.floor(issuedAt / 1000);
    const scope = scopes.map(scopeText).join(' ');
    const claims = { ...(user === undefined ? {} : { sub: user }), iat, exp: iat + life, scope };
    const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
    const signature = this.#sign(body, user)?.toString('base64url');
    const value = `${header}.${body}.${signature}`;
    if (signature === undefined || value.length > maxTokenLength) return undefined;
    return { value, issuedAt, expiresIn: life };
  }

  /** @returns undefined for a token that is not ours, is over, or whose user may not log in any more */
  grantOf(token: string): Grant | undefined {
    if (token.length > maxTokenLength) return undefined;
    const [, first, body = '', signature = ''] = tokenPattern.exec(token) ?? [];
    if (first !== header) return undefined;
    const claims = claimsOf(body);
    if (claims === undefined) return undefined;
    const { sub, iat, exp, scope } = claims;
    if ((sub !== undefined && typeof sub !== 'string') || typeof scope !== 'string') return undefined;
    const expected = this.#sign(body, sub);
    const given = Buffer.from(signature, 'base64url');
    // 43 characters are 32 bytes and two bits, which a second spelling could differ in.
    const isSpelledOnce = given.toString('base64url') === signature;
    if (expected === undefined || !isSpelledOnce || !timingSafeEqual(expected, given)) return undefined;
    const now = this.#now() / 1000;
    if (typeof iat !== 'number' || typeof exp !== 'number' || iat > now + skew || exp <= now)
      return undefined;
    return { user: sub, scopes: parseScopes([scope]) };
  }

  /** @returns undefined for a user who may not log in */
  #sign(body: string, user: string | undefined): Buffer | undefined {
    const hash = user === undefined ? '' : this.#hashOf(user);
    if (hash === undefined) return undefined;
    return createHmac('sha256', this.#key).update(`${header}.${body}\n${hash}`).digest();
  }
}

function claimsOf(body: string) {
  try {
    return parseStrictObject(Buffer.from(body, 'base64url'), { what: 'token' });
  } catch (error) {
    if (isCoded(error)) return undefined;
    throw error;
  }
}
