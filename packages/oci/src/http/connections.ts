/** Connections: one bounded pool per origin and route to it. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { PresentedCertificate } from './advice.ts';
import type { BlockClient } from './block-client.ts';
import { presented } from './failure.ts';
import { bareAddress, guardedLookup, hostMatches, type Lookup, systemLookup } from './host.ts';
import { openTcp, openTls } from './probe.ts';
import { type ProxySettings, proxyFor, type UsedProxy } from './proxy.ts';

export interface ConnectionOptions {
  /** PEM certificates trusted besides the usual ones. */
  readonly ca?: readonly string[] | undefined;
  readonly clientCertificate?: ClientCertificate | undefined;
  readonly proxy?: ProxySettings | undefined;
  /** Connections per origin; default 8. As many again for large bodies. */
  readonly connections?: number | undefined;
  /** Default 10 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Resolver, for tests. */
  readonly lookup?: Lookup | undefined;
}

/** Who we are to servers that ask for a certificate (mutual TLS). */
export interface ClientCertificate {
  /** PEM: our certificate, and those between it and the authority. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  readonly passphrase?: string | undefined;
  /** The only hosts that are shown it: as in policies, logical. No proxy is, and nothing that a host redirects to. */
  readonly hosts: readonly string[];
}

export interface Route {
  readonly dispatcher: Dispatcher;
  /** For large bodies; undefined through a proxy. */
  readonly blocks?: BlockClient;
  /** Undefined for a straight one. */
  readonly proxy?: UsedProxy;
}

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #routes = new Map<string, Promise<Route>>();
  readonly #identified: SecureContext | undefined;
  #anonymous: SecureContext | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { clientCertificate } = options;
    // At once: a key that TLS does not accept is refused before any request.
    if (clientCertificate !== undefined) {
      const { cert, key, passphrase } = clientCertificate;
      this.#identified = createSecureContext({ ...this.#trust(), cert, key, passphrase });
    }
  }

  /**
   * @param url logical URL
   * @param target physical URL
   * @param publicOnly refuse names that resolve to inside addresses; moot behind a proxy, which resolves them
   */
  route(url: URL, target: URL, publicOnly: boolean): Promise<Route> {
    const { clientCertificate } = this.#options;
    const isIdentified = clientCertificate?.hosts.some((host) => hostMatches(host, url)) === true;
    const key = `${target.origin} ${publicOnly} ${isIdentified}`;
    const route = this.#routes.get(key) ?? this.#newRoute(target, publicOnly, isIdentified);
    this.#routes.set(key, route);
    return route;
  }

  /** Whether the operator named authorities. */
  get hasAuthority(): boolean {
    return (this.#options.ca ?? []).length > 0;
  }

  /**
   * What the other side presents, whoever vouches for it: a connection of its own, which carries no request.
   * @returns undefined when that cannot be found out
   */
  async certificateOf(target: URL, publicOnly: boolean): Promise<PresentedCertificate | undefined> {
    const { connectTimeoutMs = 10_000, lookup = systemLookup } = this.#options;
    if (proxyFor(this.#options.proxy, target) !== undefined) return undefined;
    const host = bareAddress(target.hostname);
    try {
      const guarded = guardedLookup(lookup, publicOnly);
      const socket = await openTcp(host, Number(target.port || 443), connectTimeoutMs, { lookup: guarded });
      const secure = await openTls(socket, { host, ca: [], verify: false, timeoutMs: connectTimeoutMs });
      const certificate = presented(secure.getPeerCertificate());
      secure.destroy();
      return certificate;
    } catch {
      return undefined;
    }
  }

  /** Ends all connections at once; requests in progress fail. */
  async close(): Promise<void> {
    const routes = [...this.#routes.values()];
    this.#routes.clear();
    await Promise.all(
      routes.map(async (route) => {
        const { dispatcher, blocks } = await route;
        blocks?.destroy();
        await dispatcher.destroy();
      }),
    );
  }

  #trust(): { readonly ca?: string[] } {
    const { ca = [] } = this.#options;
    return ca.length === 0 ? {} : { ca: [...getCACertificates('default'), ...ca] };
  }

  /**
   * One for all connections, made for the first one over TLS: parsing all root certificates takes as long as the rest
   * of a short command over plain HTTP.
   * @returns undefined for the one that Node.js makes
   */
  #anonymousContext(): SecureContext | undefined {
    if (this.hasAuthority) this.#anonymous ??= createSecureContext(this.#trust());
    return this.#anonymous;
  }

  async #newRoute(target: URL, publicOnly: boolean, isIdentified: boolean): Promise<Route> {
    const { connections = 8, connectTimeoutMs = 10_000, lookup = systemLookup } = this.#options;
    const proxy = proxyFor(this.#options.proxy, target);
    const isSecure = [target, proxy?.url].some((url) => url?.protocol === 'https:');
    const proxyContext = isSecure ? this.#anonymousContext() : undefined;
    const secureContext = isIdentified ? this.#identified : proxyContext;
    const options = { connections, connectTimeoutMs, secureContext, proxyContext };
    const { directDispatcher, directBlockClient, proxiedDispatcher } = await import('./dispatchers.ts');
    return proxy === undefined
      ? {
          dispatcher: directDispatcher(target.origin, lookup, publicOnly, options),
          blocks: directBlockClient(target, lookup, publicOnly, options),
        }
      : { dispatcher: proxiedDispatcher(proxy.url, options), proxy };
  }
}
