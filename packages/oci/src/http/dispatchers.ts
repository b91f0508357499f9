/**
 * Pools of connections to one origin, straight or through a proxy. HTTP/1.1 only, since HTTP/2 would put all blobs
 * of a host on one connection. In a file of its own, loaded at the first request: the HTTP client takes longer to
 * load than commands that need no network take for the rest of their start.
 */
import type { SecureContext } from 'node:tls';
import { buildConnector, Client, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { Exchange, type Peer } from './exchange.ts';
import { guardedLookup, type Lookup } from './host.ts';

export interface DispatcherOptions {
  /** Connections at a time. */
  readonly connections: number;
  readonly connectTimeoutMs: number;
  readonly secureContext: SecureContext | undefined;
  /** Towards a proxy. */
  readonly proxyContext: SecureContext | undefined;
}

/** Said, since else NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment would switch the checks off. */
const checked = { rejectUnauthorized: true } as const;

/** @param publicOnly refuse names that resolve to inside addresses */
export function directDispatcher(
  origin: string,
  lookup: Lookup,
  publicOnly: boolean,
  { connections, connectTimeoutMs: timeout, secureContext }: DispatcherOptions,
): Dispatcher {
  const connector = buildConnector({
    secureContext,
    ...checked,
    timeout,
    allowH2: false,
    lookup: guardedLookup(lookup, publicOnly),
  });
  return new Pool(origin, {
    connections,
    allowH2: false,
    connect: connector,
    factory: (address, options) => new AddressedClient(address, options, connector),
  });
}

export function proxiedDispatcher(
  proxy: URL,
  { connections, connectTimeoutMs, secureContext, proxyContext }: DispatcherOptions,
): Dispatcher {
  const tls = { ...checked, timeout: connectTimeoutMs, allowH2: false };
  return new ProxyAgent({
    uri: proxy.href,
    connections,
    connectTimeout: connectTimeoutMs,
    allowH2: false,
    requestTls: { ...tls, secureContext },
    proxyTls: { ...tls, secureContext: proxyContext },
  });
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
          const [, socket] = result;
          peer.address = socket?.remoteAddress ?? '';
          // The alert of a TLS server is followed by an orderly end, which would be told in its place.
          socket?.once('error', (error) => socket.destroy(error));
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
