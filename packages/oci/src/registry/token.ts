/**
 * Bearer tokens: asked for at the realm, kept per set of scopes, renewed before they end.
 * Sources: distribution v2.8 docs/spec/auth/token.md and oauth.md.
 */
import { CodedError } from '../base/errors.ts';
import type { HttpGate } from '../http/gate.ts';
import { errorFromResponse } from '../http/response.ts';
import { abortable } from '../http/retry.ts';
import type { Credential } from './credentials.ts';

export interface TokenRequest {
  readonly realm: URL;
  readonly service?: string | undefined;
  /** Such as `repository:siderolabs/omni:pull`. */
  readonly scopes: readonly string[];
  readonly credential?: Credential | undefined;
}

export interface Token {
  readonly value: string;
  /** Milliseconds since the epoch, by our clock. */
  readonly expiresAt: number;
}

const maxAnswerBytes = 64 * 1024;
/** RFC 6750 b68token; length as a guard against header limits. */
const tokenPattern = /^[A-Za-z0-9._~+/-]{1,12000}=*$/;
/** Source: token.md, "For compatibility with older clients, a token should never be returned with less than 60 seconds". */
const defaultLifeSeconds = 60;

/** @throws DENIED when the realm refuses, UPSTREAM when its answer is unusable, NETWORK, EGRESS_DENIED */
export async function requestToken(gate: HttpGate, request: TokenRequest): Promise<Token> {
  const { realm, service, scopes, credential } = request;
  const what = `log in at ${realm.host}`;
  const response =
    credential?.kind === 'identity'
      ? await gate.request({
          peer: 'token service',
          method: 'POST',
          url: realm,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: Buffer.from(
            new URLSearchParams({
              grant_type: 'refresh_token',
              client_id: 'omni-airgap',
              refresh_token: credential.token,
              scope: scopes.join(' '),
              ...(service === undefined ? {} : { service }),
            }).toString(),
          ),
        })
      : await gate.request({
          peer: 'token service',
          method: 'GET',
          url: withQuery(realm, service, scopes),
          follow: false,
          authorization: credential === undefined ? undefined : basic(credential),
        });
  if (response.status !== 200) throw await errorFromResponse(response, what);
  const answer = await response.json(`token of ${realm.host}`, maxAnswerBytes);
  const value = answer['token'] ?? answer['access_token'];
  if (typeof value !== 'string' || !tokenPattern.test(value)) {
    throw new CodedError('UPSTREAM', `${what}: the answer holds no usable token`);
  }
  const seconds = answer['expires_in'];
  const life = typeof seconds === 'number' && seconds > 0 ? seconds : defaultLifeSeconds;
  return { value, expiresAt: Date.now() + life * 1000 };
}

/** The value of an Authorization header. */
export function basic(credential: Extract<Credential, { kind: 'password' }>): string {
  const text = `${credential.username}:${credential.password}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

/** A server that passes on what its clients name asks for a token for each name. */
const maxTokens = 1000;

/** Tokens by key, each asked for once at a time; the oldest give way. */
export class TokenCache {
  readonly #tokens = new Map<string, Promise<Token>>();
  readonly #now: () => number;

  /** @param now milliseconds since the epoch */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** @param ask used when there is no token, or one that ends within 30 s or a quarter of its life */
  async get(key: string, ask: () => Promise<Token>, signal?: AbortSignal): Promise<string> {
    const cached = this.#tokens.get(key);
    if (cached !== undefined) {
      const token = await abortable(cached, signal);
      if (token.expiresAt > this.#now()) return token.value;
      if (this.#tokens.get(key) === cached) this.#tokens.delete(key);
    }
    let asking = this.#tokens.get(key);
    if (asking === undefined) {
      const start = this.#now();
      asking = ask().then((token) => ({
        ...token,
        expiresAt: token.expiresAt - Math.min(30_000, (token.expiresAt - start) / 4),
      }));
      const [oldest] = this.#tokens.keys();
      if (this.#tokens.size >= maxTokens && oldest !== undefined) this.#tokens.delete(oldest);
      this.#tokens.set(key, asking);
      asking.catch(() => {
        if (this.#tokens.get(key) === asking) this.#tokens.delete(key);
      });
    }
    return (await abortable(asking, signal)).value;
  }

  /** Forgets a token that was refused, unless it has been replaced already. */
  async drop(key: string, value: string): Promise<void> {
    const cached = this.#tokens.get(key);
    const token = await cached?.catch(() => undefined);
    if (token?.value === value && this.#tokens.get(key) === cached) this.#tokens.delete(key);
  }
}

function withQuery(realm: URL, service: string | undefined, scopes: readonly string[]): URL {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.append('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  return url;
}
