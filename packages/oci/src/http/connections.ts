/** Connections: one bounded pool per origin and route to it. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { type Lookup, systemLookup } from './host.ts';
import { type ProxySettings, proxyFor } from './proxy.ts';

export interface ConnectionOptions {
  /** PEM certificates trusted besides the usual ones. */
  readonly ca?: readonly string[] | undefined;
  readonly proxy?: ProxySettings | undefined;
  /** Connections per origin; default 8. */
  readonly connections?: number | undefined;
  /** Default 10 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Resolver, for tests. */
  readonly lookup?: Lookup | undefined;
}

export interface Route {
  readonly dispatcher: Dispatcher;
  readonly via?: 'proxy';
}

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #routes = new Map<string, Promise<Route>>();
  readonly #secureContext: SecureContext | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    // One context for all: parsing the root certificates anew for each connection costs milliseconds.
    this.#secureContext =
      options.ca === undefined || options.ca.length === 0
        ? undefined
        : createSecureContext({ ca: [...getCACertificates('default'), ...options.ca] });
  }

  /**
   * @param target physical URL
   * @param publicOnly refuse names that resolve to inside addresses; moot behind a proxy, which resolves them
   */
  route(target: URL, publicOnly: boolean): Promise<Route> {
    const key = `${target.origin} ${publicOnly}`;
    const route = this.#routes.get(key) ?? this.#newRoute(target, publicOnly);
    this.#routes.set(key, route);
    return route;
  }

  /** Ends all connections at once; requests in progress fail. */
  async close(): Promise<void> {
    const routes = [...this.#routes.values()];
    this.#routes.clear();
    await Promise.all(routes.map(async (route) => (await route).dispatcher.destroy()));
  }

  async #newRoute(target: URL, publicOnly: boolean): Promise<Route> {
    const { connections = 8, connectTimeoutMs = 10_000, lookup = systemLookup } = this.#options;
    const options = { connections, connectTimeoutMs, secureContext: this.#secureContext };
    const proxy = proxyFor(this.#options.proxy, target);
    const { directDispatcher, proxiedDispatcher } = await import('./dispatchers.ts');
    return proxy === undefined
      ? { dispatcher: directDispatcher(target.origin, lookup, publicOnly, options) }
      : { dispatcher: proxiedDispatcher(proxy, options), via: 'proxy' };
  }
}
