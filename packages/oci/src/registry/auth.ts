/**
 * Logging in to a registry: learns from its first 401 what it wants, and answers that from then on. A realm
 * is asked only when it belongs to the registry, so that no registry can make us send credentials elsewhere.
 * Threats T32, T33, F12.
 */
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { adviceFor } from '../http/advice.ts';
import type { HttpGate } from '../http/gate.ts';
import { hostMatches } from '../http/host.ts';
import { mappingOf, resolveReference } from '../http/policy.ts';
import { abortable } from '../http/retry.ts';
import { parseChallenges } from './challenge.ts';
import { type Credential, type CredentialLookup, type CredentialSource, isSame } from './credentials.ts';
import { basic, requestToken, type Token, TokenCache } from './token.ts';

export interface AuthOptions {
  readonly gate: HttpGate;
  /** Logical origin of the registry. */
  readonly origin: URL;
  /** Host as in references, for credentials. */
  readonly host: string;
  readonly credentials?: CredentialSource | undefined;
  /** Hosts besides the registry's own whose realm may be asked. */
  readonly trustedRealms: readonly string[];
}

/** Registries whose realm is known to be on another host. */
const knownRealms: ReadonlyMap<string, string> = new Map([
  ['registry-1.docker.io', 'auth.docker.io'],
  ['registry.gitlab.com', 'gitlab.com'],
]);

type Scheme =
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly realm: URL; readonly service: string | undefined };

/** A request that was answered 401. */
interface Refused {
  readonly repository: string;
  readonly scopes: readonly string[];
  /** The Authorization header it had. */
  readonly authorization: string | undefined;
  readonly signal: AbortSignal | undefined;
}

export class Authenticator {
  readonly #options: AuthOptions;
  readonly #tokens = new TokenCache();
  #scheme: Scheme | undefined;

  constructor(options: AuthOptions) {
    this.#options = options;
  }

  /**
   * The Authorization header for a request, as far as it is known what the registry wants.
   * @param repository whose credentials are used
   * @throws DENIED, CONFIG, EGRESS_DENIED, UPSTREAM, NETWORK
   */
  async authorization(
    repository: string,
    scopes: readonly string[],
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const scheme = this.#scheme;
    if (scheme === undefined) return undefined;
    if (scheme.kind === 'basic') return headerOf(await this.#find(repository, signal));
    const token = await this.#tokens.get(
      scopes.join(' '),
      () => this.#askToken(scheme, repository, scopes),
      signal,
    );
    return `Bearer ${token}`;
  }

  /**
   * Takes in a 401.
   * @param header its WWW-Authenticate
   * @returns true when a request with a new authorization() may fare better
   * @throws EGRESS_DENIED for a realm that is not the registry's; UPSTREAM for a malformed header
   */
  async refused(header: string | undefined, request: Refused): Promise<boolean> {
    const { scopes, authorization } = request;
    const challenges = parseChallenges(header, this.#options.host);
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (bearer !== undefined) {
      const service = bearer.parameters.get('service');
      const realm = this.#realm(bearer.parameters.get('realm') ?? '');
      this.#scheme = { kind: 'bearer', realm, service };
      if (authorization?.startsWith('Bearer ')) {
        await this.#tokens.drop(scopes.join(' '), authorization.slice(7));
      }
      return true;
    }
    if (!challenges.some((challenge) => challenge.scheme === 'basic')) return false;
    this.#scheme = { kind: 'basic' };
    return authorization === undefined || this.hasOtherPassword(request);
  }

  /** True when looking up a refused password again gives another one. @throws CONFIG */
  async hasOtherPassword({ repository, authorization, signal }: Refused): Promise<boolean> {
    if (authorization === undefined || this.#scheme?.kind !== 'basic') return false;
    const current = await this.#find(repository, signal);
    // Another request that was refused may have looked before this one.
    if (current === undefined || headerOf(current) !== authorization) return current !== undefined;
    const again = headerOf(await this.#find(repository, signal, current));
    return again !== undefined && again !== authorization;
  }

  /**
   * Adds to an error of status 401 or 403 whose credentials were sent and where they are from, or where they were
   * looked for, and what to do. Other errors stay as they are.
   * @param isRefusal the credentials themselves were refused; by default that is what 401 means under basic
   */
  async explain(
    error: CodedError,
    repository: string,
    isRefusal: boolean = error.status === 401 && this.#scheme?.kind === 'basic',
  ): Promise<CodedError> {
    if (error.status !== 401 && error.status !== 403) return error;
    const { credentials, host } = this.#options;
    const found = await credentials?.explain?.(host, repository);
    const advice = this.#advice(found ?? { who: undefined, where: '' }, repository, isRefusal);
    return new CodedError(error.code, `${error.message}; ${advice}`, { cause: error, status: error.status });
  }

  #advice({ who, where }: CredentialLookup, repository: string, isRefusal: boolean): string {
    const cause =
      who === undefined
        ? 'log-in missing'
        : this.#scheme === undefined
          ? 'log-in not asked for'
          : isRefusal
            ? 'log-in refused'
            : 'right missing';
    const { host } = this.#options;
    return adviceFor(cause, 'registry', { host, who, where, isOfRepository: repository !== '' });
  }

  #find(repository: string, signal?: AbortSignal, refused?: Credential): Promise<Credential | undefined> {
    const { credentials, host } = this.#options;
    return abortable(credentials?.find(host, repository, refused) ?? Promise.resolve(undefined), signal);
  }

  /** A token; a credential that the realm refuses is looked up once more. */
  async #askToken(
    scheme: Extract<Scheme, { kind: 'bearer' }>,
    repository: string,
    scopes: readonly string[],
  ): Promise<Token> {
    const ask = (credential: Credential | undefined): Promise<Token> =>
      requestToken(this.#options.gate, { realm: scheme.realm, scopes, service: scheme.service, credential });
    const isDenial = (error: unknown): error is CodedError => isCoded(error, 'DENIED');
    const explained = async (error: unknown): Promise<unknown> =>
      isDenial(error) ? this.explain(error, repository, error.status === 401) : error;
    const credential = await this.#find(repository);
    try {
      return await ask(credential);
    } catch (error) {
      if (credential === undefined || !isDenial(error) || error.status !== 401) throw await explained(error);
      const again = await this.#find(repository, undefined, credential);
      if (again === undefined || isSame(again, credential)) throw await explained(error);
      return ask(again).catch(async (second: unknown) => {
        throw await explained(second);
      });
    }
  }

  #realm(text: string): URL {
    const { gate, origin, trustedRealms } = this.#options;
    const url = URL.canParse(text) ? resolveReference(gate.policy, text, origin) : undefined;
    const denied = (why: string): CodedError =>
      new CodedError(
        'EGRESS_DENIED',
        `refused the token realm ${printable(url?.host ?? text)} of ${origin.host}: ${why}`,
      );
    if (url === undefined) throw denied('not a URL');
    const plain = origin.protocol === 'http:' || mappingOf(gate.policy, origin) !== undefined;
    if (url.protocol !== 'https:' && !(plain && url.protocol === 'http:')) throw denied('it is not https');
    const own = url.host === origin.host || url.host === knownRealms.get(origin.host);
    if (!own && !trustedRealms.some((host) => hostMatches(host, url))) {
      throw denied(`it is another host; if it is the right one, add --allow-host ${url.host}`);
    }
    return url;
  }
}

/** The Authorization header for a password; identity tokens are for realms only. */
function headerOf(credential: Credential | undefined): string | undefined {
  return credential?.kind === 'password' ? basic(credential) : undefined;
}
