/**
 * Who may do what. Registry clients log in by tokens, people at the page by their password:
 *
 *   pull, lists           anyone; with `requireLogin` a user
 *   push, delete          a user
 *   page, wishes, factory anyone; with `requireLogin` a user, but for what `isOpen` names
 *
 * Registry clients learn from the 401 of `/v2/` that there is a token endpoint, and ask it with their password or without.
 * Sources: distribution v2.8 docs/spec/auth/token.md; RFC 6750 (Bearer), RFC 7617 (Basic).
 */
import { plainText } from '../factory/answer.ts';
import type { Answer, Method, Methods, Request, RouteGroup } from '../http/message.ts';
import { refuse, refuseError, registryHeaders } from '../registry/refusal.ts';
import { type AttemptLimits, Attempts } from './attempts.ts';
import type { LogIns } from './htpasswd.ts';
import { Passwords } from './passwords.ts';
import { isGranted, isReading, parseScopes, readingOf, type Scope, scopeText } from './scope.ts';
import { type Grant, Tokens } from './tokens.ts';

export interface AccessOptions {
  readonly logIns: LogIns;
  /** Pulling, the page and the Image Factory need a log-in too. */
  readonly requireLogin?: boolean;
  /** Signs tokens, 32 bytes or more; the same for all replicas. Left out: a random one for this process. */
  readonly tokenKey?: Uint8Array | undefined;
  readonly attempts?: AttemptLimits;
  /** Milliseconds since the epoch; default Date.now. */
  readonly now?: () => number;
}

interface Credential {
  readonly user: string;
  readonly password: string;
}

/** Why nobody is logged in. */
type Refusal =
  | { readonly kind: 'missing' | 'wrong' }
  /** @param seconds until it may be tried again */
  | { readonly kind: 'later'; readonly seconds: number };

/** Characters of an Authorization header with a password. */
const maxBasicLength = 2048;
const maxScopes = 64;
/** Seconds, where too many log-ins wait for their turn. */
const busySeconds = 5;
const realmName = 'omni-airgap';

export class Access {
  readonly #passwords: Passwords;
  readonly #attempts: Attempts;
  readonly #tokens: Tokens;
  readonly #requireLogin: boolean;
  /** Passwords that were sent so far. */
  readonly logIns = { right: 0, wrong: 0, later: 0 };
  readonly #urlFor: (request: Request) => string;

  /** @param urlFor how the client reaches this server; the token endpoint is below it */
  constructor(options: AccessOptions, urlFor: (request: Request) => string) {
    const { logIns, requireLogin = false, tokenKey, attempts = {}, now = Date.now } = options;
    this.#passwords = new Passwords(logIns);
    this.#attempts = new Attempts(attempts, now);
    this.#tokens = new Tokens(tokenKey, (user) => this.#passwords.hashOf(user), now);
    this.#requireLogin = requireLogin;
    this.#urlFor = urlFor;
  }

  /** From now on these may log in. Tokens and passwords of others end. */
  setLogIns(logIns: LogIns): void {
    this.#passwords.logIns = logIns;
  }

  /**
   * Handlers of the registry that ask for a token first.
   * @param scopeOf what a request by the method needs; undefined for any token
   */
  registry(methods: Methods, scopeOf: (method: Method) => Scope | undefined): Methods {
    return withEach(methods, (handler) => async (request) => {
      const needed = scopeOf(request.method);
      const grant = this.#grantOf(request);
      if (grant === undefined) return this.#challenge(request, needed, 'invalid_token');
      const isAllowed = needed === undefined ? grant !== 'nobody' : this.#may(grant, needed);
      if (!isAllowed)
        return this.#challenge(request, needed, grant === 'nobody' ? undefined : 'insufficient_scope');
      const answer = await handler(this.#withoutForeignMount(grant, request));
      return grant === 'nobody' ? answer : { ...answer, user: grant.user };
    });
  }

  /**
   * Paths for browsers and for clients of the Image Factory: with `requireLogin` they ask for a password.
   * @param isOpen paths that clients use which cannot log in
   */
  pages(group: RouteGroup, isOpen: (segments: readonly string[]) => boolean = () => false): RouteGroup {
    if (!this.#requireLogin) return group;
    return {
      ...group,
      match: (segments) => {
        const methods = group.match(segments);
        if (methods === undefined || isOpen(segments)) return methods;
        return withEach(methods, (handler) => async (request) => {
          const user = await this.#logIn(request);
          if (typeof user === 'string') return { ...(await handler(request)), user };
          if (user.kind === 'later')
            return later(plainText(429, 'too many log-ins; try again later'), user.seconds);
          const answer = plainText(401, user.kind === 'wrong' ? 'wrong user or password' : 'log in first');
          return withHeader(answer, 'WWW-Authenticate', `Basic realm="${realmName}", charset="UTF-8"`);
        });
      },
    };
  }

  /** `/token`: gives tokens for a password, or for none. */
  routes(): RouteGroup {
    return {
      match: (segments) =>
        segments.length === 1 && segments[0] === 'token'
          ? { GET: (request) => this.#giveToken(request) }
          : undefined,
      routeOf: () => 'token',
      methodNotAllowed: (method) =>
        refuse('UNSUPPORTED', `${method} is not possible here: request a token with GET`),
      failed: refuseError,
    };
  }

  async #giveToken(request: Request): Promise<Answer> {
    const asked = request.query.getAll('scope');
    const scopes = parseScopes(asked);
    if (scopes.length > maxScopes) return refuse('DENIED', `a token may have ${maxScopes} scopes`, 400);
    const user = await this.#logIn(request);
    let grant: Grant;
    if (typeof user === 'string') grant = { user, scopes };
    else if (user.kind === 'later') {
      return later(refuse('TOOMANYREQUESTS', 'too many log-ins; try again later'), user.seconds);
    } else if (user.kind === 'missing' && !this.#requireLogin) grant = { scopes: readingOf(scopes) };
    else {
      const why = user.kind === 'wrong' ? 'wrong user or password' : 'log in first';
      return withHeader(
        refuse('UNAUTHORIZED', why),
        'WWW-Authenticate',
        `Basic realm="${realmName}", charset="UTF-8"`,
      );
    }
    const token = this.#tokens.issue(grant);
    if (token === undefined) return refuse('DENIED', 'too many scopes for one token', 400);
    const { value, expiresIn, issuedAt } = token;
    return {
      status: 200,
      headers: { ...registryHeaders, 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
      body: JSON.stringify({
        token: value,
        access_token: value,
        expires_in: expiresIn,
        issued_at: new Date(issuedAt).toISOString(),
      }),
      user: grant.user,
    };
  }

  /** The user whose password the request has. */
  async #logIn(request: Request): Promise<string | Refusal> {
    const user = await this.#userOf(request);
    if (typeof user === 'string') this.logIns.right++;
    else if (user.kind !== 'missing') this.logIns[user.kind]++;
    return user;
  }

  async #userOf({ headers, remote }: Request): Promise<string | Refusal> {
    const { authorization } = headers;
    if (authorization === undefined) return { kind: 'missing' };
    const credential = credentialOf(authorization);
    if (credential === undefined) return { kind: 'wrong' };
    const { user, password } = credential;
    const known = this.#passwords.known(user, password);
    if (known !== undefined) return (await known) ? user : { kind: 'wrong' };
    const seconds = this.#attempts.take(remote);
    if (seconds > 0) return { kind: 'later', seconds };
    const checking = this.#passwords.check(user, password);
    if (checking === undefined) {
      this.#attempts.giveBack(remote);
      return { kind: 'later', seconds: busySeconds };
    }
    if (!(await checking)) return { kind: 'wrong' };
    this.#attempts.giveBack(remote);
    return user;
  }

  /** @returns `nobody` for a request without a token, undefined for a token that is not valid */
  #grantOf({ headers }: Request): Grant | 'nobody' | undefined {
    const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
    if (token === undefined) return 'nobody';
    const grant = this.#tokens.grantOf(token);
    // Of a replica that lets everyone pull.
    return grant?.user === undefined && this.#requireLogin ? undefined : grant;
  }

  /** Whoever has a token may also do what everyone may. */
  #may(grant: Grant | 'nobody', needed: Scope): boolean {
    if (isReading(needed) && !this.#requireLogin) return true;
    return grant !== 'nobody' && isGranted(grant.scopes, needed);
  }

  /**
   * A mount from a repository that the request may not pull from is none: the client uploads the blob.
   * Source: distribution-spec v1.1.1 spec.md#mounting-a-blob-from-another-repository.
   */
  #withoutForeignMount(grant: Grant | 'nobody', request: Request): Request {
    const { query } = request;
    if (!query.has('mount')) return request;
    const [source] = parseScopes([`repository:${query.get('from') ?? ''}:pull`]);
    const isAllowed = source === undefined ? !this.#requireLogin : this.#may(grant, source);
    if (isAllowed) return request;
    const kept = new URLSearchParams(query);
    kept.delete('mount');
    return { ...request, query: kept };
  }

  #challenge(request: Request, needed: Scope | undefined, error: string | undefined): Answer {
    const url = this.#urlFor(request);
    const parameters = [
      `realm="${url}/token"`,
      `service="${new URL(url).host}"`,
      ...(needed === undefined ? [] : [`scope="${scopeText(needed)}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ];
    const why =
      error === 'invalid_token' ? 'the token is invalid or has expired; request a new one' : 'log in first';
    const message = error === 'insufficient_scope' ? 'the token does not grant this' : why;
    return withHeader(refuse('UNAUTHORIZED', message), 'WWW-Authenticate', `Bearer ${parameters.join(',')}`);
  }
}

type Handler = NonNullable<Methods[Method]>;

function withEach(methods: Methods, wrap: (handler: Handler) => Handler): Methods {
  return Object.fromEntries(
    Object.entries(methods).map(([method, handler]) => [method, wrap(handler)]),
  ) satisfies Methods;
}

function withHeader(answer: Answer, name: string, value: string): Answer {
  return { ...answer, headers: { ...answer.headers, [name]: value } };
}

function later(answer: Answer, seconds: number): Answer {
  return withHeader(answer, 'Retry-After', String(seconds));
}

/** @returns undefined for what is no Basic header of RFC 7617 */
function credentialOf(authorization: string): Credential | undefined {
  if (authorization.length > maxBasicLength) return undefined;
  const [, encoded = ''] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  // Read in one way only: Node.js skips what it cannot decode.
  if (bytes.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, '')) return undefined;
  const text = bytes.toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1 || /[\p{Cc}\ufffd]/u.test(text)) return undefined;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
