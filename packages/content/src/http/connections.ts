/**
 * Connections: one bounded pool per origin and way there. HTTP/1.1 only, since HTTP/2 would put all blobs of
 * a host on one connection.
 */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { buildConnector, Client, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { guardedLookup, type Lookup, systemLookup } from './address.ts';
import { Exchange, type Peer } from './exchange.ts';
import { type ProxySettings, proxyFor } from './proxy.ts';

export interface ConnectionOptions {
  /** PEM certificates trusted besides the usual ones. */
  readonly ca?: readonly string[];
  readonly proxy?: ProxySettings;
  /** Connections per origin; default 8. */
  readonly connections?: number;
  /** Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Resolver, for tests. */
  readonly lookup?: Lookup;
}

export interface Way {
  readonly dispatcher: Dispatcher;
  readonly via?: 'proxy';
}

export class Connections {
  readonly #options: ConnectionOptions;
  readonly #ways = new Map<string, Way>();
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
  way(target: URL, publicOnly: boolean): Way {
    const key = `${target.origin} ${publicOnly}`;
    let way = this.#ways.get(key);
    if (way === undefined) {
      const proxy = proxyFor(this.#options.proxy, target);
      way =
        proxy === undefined
          ? { dispatcher: this.#direct(target, publicOnly) }
          : { dispatcher: this.#proxied(proxy), via: 'proxy' };
      this.#ways.set(key, way);
    }
    return way;
  }

  /** Ends all connections at once; what is still under way fails. */
  async close(): Promise<void> {
    const ways = [...this.#ways.values()];
    this.#ways.clear();
    await Promise.all(ways.map((way) => way.dispatcher.destroy()));
  }

  #direct(target: URL, publicOnly: boolean): Dispatcher {
    const { connections = 8, connectTimeoutMs = 10_000, lookup = systemLookup } = this.#options;
    const connector = buildConnector({
      ...this.#tls(),
      timeout: connectTimeoutMs,
      allowH2: false,
      lookup: guardedLookup(lookup, publicOnly),
    });
    return new Pool(target.origin, {
      connections,
      allowH2: false,
      connect: connector,
      factory: (origin, options) => new AddressedClient(origin, options, connector),
    });
  }

  #proxied(proxy: URL): Dispatcher {
    const { connections = 8, connectTimeoutMs = 10_000 } = this.#options;
    const tls = { ...this.#tls(), timeout: connectTimeoutMs, allowH2: false };
    return new ProxyAgent({
      uri: proxy.href,
      connections,
      connectTimeout: connectTimeoutMs,
      allowH2: false,
      requestTls: tls,
      proxyTls: tls,
    });
  }

  #tls(): { readonly secureContext?: SecureContext } {
    return this.#secureContext === undefined ? {} : { secureContext: this.#secureContext };
  }
}

/** A client that tells each exchange the address its connection has, for the egress record. */
class AddressedClient extends Client {
  readonly #peer: Peer;

  constructor(origin: URL, options: object, connector: buildConnector.connector) {
    const peer: { address: string } = { address: '' };
    super(origin, {
      ...options,
      connect: (target, done) =>
        connector(target, (...result) => {
          peer.address = result[1]?.remoteAddress ?? '';
          done(...result);
        }),
    });
    this.#peer = peer;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (handler instanceof Exchange) handler.peer = this.#peer;
    return super.dispatch(options, handler);
  }
}
