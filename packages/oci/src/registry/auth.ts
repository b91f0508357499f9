/**
 * Logging in to a registry: learns from its first 401 what it wants, and answers that from then on. A realm
 * is asked only when it belongs to the registry, so that no registry can make us send credentials elsewhere.
 * Threats T32, T33, F12.
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import type { HttpGate } from '../http/gate.ts';
import { hostMatches } from '../http/host.ts';
import { mappingOf, resolveReference } from '../http/upstream.ts';
import { parseChallenges } from './challenge.ts';
import type { Credential } from './credential.ts';
import type { CredentialSource } from './credentials.ts';
import { basic, requestToken, TokenCache } from './token.ts';

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
const knownRealms: Readonly<Record<string, string>> = {
  'registry-1.docker.io': 'auth.docker.io',
  'registry.gitlab.com': 'gitlab.com',
};

type Scheme =
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly realm: URL; readonly service?: string };

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
    const credential = await this.#options.credentials?.find(this.#options.host, repository, signal);
    if (scheme.kind === 'basic') return credential?.kind === 'password' ? basic(credential) : undefined;
    const token = await this.#tokens.get(
      scopes.join(' '),
      () => this.#ask(scheme, scopes, credential),
      signal,
    );
    return `Bearer ${token}`;
  }

  /**
   * Takes in a 401.
   * @param header its WWW-Authenticate
   * @param used the Authorization that was refused
   * @returns true when a request with a new authorization() may fare better
   * @throws EGRESS_DENIED for a realm that is not the registry's; UPSTREAM for a malformed header
   */
  async refused(
    header: string | undefined,
    scopes: readonly string[],
    used: string | undefined,
  ): Promise<boolean> {
    const challenges = parseChallenges(header, this.#options.host);
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (bearer !== undefined) {
      const service = bearer.parameters.get('service');
      const realm = this.#realm(bearer.parameters.get('realm') ?? '');
      this.#scheme = { kind: 'bearer', realm, ...(service === undefined ? {} : { service }) };
      if (used?.startsWith('Bearer ')) await this.#tokens.drop(scopes.join(' '), used.slice(7));
      return true;
    }
    if (!challenges.some((challenge) => challenge.scheme === 'basic')) return false;
    this.#scheme = { kind: 'basic' };
    return used === undefined;
  }

  async #ask(
    scheme: Extract<Scheme, { kind: 'bearer' }>,
    scopes: readonly string[],
    credential: Credential | undefined,
  ) {
    return requestToken(this.#options.gate, {
      realm: scheme.realm,
      scopes,
      ...(scheme.service === undefined ? {} : { service: scheme.service }),
      ...(credential === undefined ? {} : { credential }),
    });
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
    const own = url.host === origin.host || url.host === knownRealms[origin.host];
    if (!own && !trustedRealms.some((host) => hostMatches(host, url))) {
      throw denied(`it is another host; if it is the right one, add --allow-host ${url.host}`);
    }
    return url;
  }
}
