/** Connections: one bounded pool per origin and way there. */
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

export interface Way {
  readonly dispatcher: Dispatcher;
  readonly via?: 'proxy';
}

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #ways = new Map<string, Promise<Way>>();
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
  way(target: URL, publicOnly: boolean): Promise<Way> {
    const key = `${target.origin} ${publicOnly}`;
    const way = this.#ways.get(key) ?? this.#newWay(target, publicOnly);
    this.#ways.set(key, way);
    return way;
  }

  /** Ends all connections at once; what is still under way fails. */
  async close(): Promise<void> {
    const ways = [...this.#ways.values()];
    this.#ways.clear();
    await Promise.all(ways.map(async (way) => (await way).dispatcher.destroy()));
  }

  async #newWay(target: URL, publicOnly: boolean): Promise<Way> {
    const { connections = 8, connectTimeoutMs = 10_000, lookup = systemLookup } = this.#options;
    const options = { connections, connectTimeoutMs, secureContext: this.#secureContext };
    const proxy = proxyFor(this.#options.proxy, target);
    const { directDispatcher, proxiedDispatcher } = await import('./dispatchers.ts');
    return proxy === undefined
      ? { dispatcher: directDispatcher(target.origin, lookup, publicOnly, options) }
      : { dispatcher: proxiedDispatcher(proxy, options), via: 'proxy' };
  }
}
