/**
 * Pools of connections to one origin, straight or through a proxy. HTTP/1.1 only, since HTTP/2 would put all blobs
 * of a host on one connection. In a file of its own, loaded at the first request: the HTTP client takes longer to
 * load than commands that need no network take for the rest of their start.
 */
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import { BlockClient } from './block-client.ts';
import { type Endpoint, Exchange } from './exchange.ts';
import { ProxyFailure, presented } from './failure.ts';
import { guardedLookup, type Lookup } from './host.ts';
import { buildConnector, Client, Pool, ProxyAgent } from './undici.ts';

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
    factory: (address, options) =>
      new EndpointClient(address, options, connector, ({ remoteAddress }) => remoteAddress ?? ''),
  });
}

/** Reads large bodies; as directDispatcher, over connections of its own. */
export function directBlockClient(
  origin: URL,
  lookup: Lookup,
  publicOnly: boolean,
  { connections, connectTimeoutMs: timeout, secureContext }: DispatcherOptions,
): BlockClient {
  return new BlockClient({
    origin,
    connections,
    connectorFor: (onread) =>
      buildConnector({
        secureContext,
        ...checked,
        timeout,
        allowH2: false,
        lookup: guardedLookup(lookup, publicOnly),
        onread,
      }),
    endpointOf,
  });
}

function endpointOf(socket: Socket): Endpoint {
  return {
    address: socket.remoteAddress ?? '',
    issuer: socket instanceof TLSSocket ? presented(socket.getPeerCertificate()).issuer : '',
    unsent: 0,
  };
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
    clientFactory: (origin, options) => new Pool(origin, { ...options, connect: ofProxy(options) }),
    factory: (origin, options: Pool.Options) => {
      const { connect } = options;
      return new Pool(origin, {
        ...options,
        factory: (address, more) =>
          new EndpointClient(address, more, connect as buildConnector.connector, () => ''),
      });
    },
  });
}

/** The connector to a proxy, whose failures are told from those of the connection through it. */
function ofProxy(options: object): buildConnector.connector {
  const { connect } = options as { readonly connect: buildConnector.connector };
  return (target, done) =>
    connect(target, (...[error, socket]) =>
      error === null ? done(null, socket) : done(new ProxyFailure(error), null),
    );
}

/** A client that tells each exchange what its connection ends at. */
class EndpointClient extends Client {
  readonly #endpoint: Endpoint;

  /** @param addressOf of a connection, for the egress record */
  constructor(
    origin: URL,
    options: object,
    connector: buildConnector.connector,
    addressOf: (socket: Socket) => string,
  ) {
    let connection: Socket | undefined;
    const endpoint = {
      address: '',
      issuer: '',
      get unsent(): number {
        return connection?.writableLength ?? 0;
      },
    };
    super(origin, {
      ...options,
      connect: (target, done) =>
        connector(target, (...result) => {
          // Undefined after a failure, whatever the type says.
          const socket = result[1] as Socket | null | undefined;
          if (socket !== null && socket !== undefined) {
            connection = socket;
            endpoint.address = addressOf(socket);
            if (socket instanceof TLSSocket) endpoint.issuer = presented(socket.getPeerCertificate()).issuer;
            // The alert of a TLS server is followed by an orderly end, which would be told in its place.
            socket.once('error', (error) => socket.destroy(error));
          }
          done(...result);
        }),
    });
    this.#endpoint = endpoint;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (handler instanceof Exchange) handler.endpoint = this.#endpoint;
    return super.dispatch(options, handler);
  }
}
