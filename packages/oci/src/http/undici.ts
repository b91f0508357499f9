/**
 * What the gate uses of undici, from the files that hold it: the index of undici also loads fetch, WebSocket, caches
 * and mocks, which doubles the time. The files are no public interface, so the version is pinned and a test compares
 * each with what the index exports. Nothing else imports undici, but for types.
 */
import connect from 'undici/lib/api/api-connect.js';
import buildConnector from 'undici/lib/core/connect.js';
import errors from 'undici/lib/core/errors.js';
import Client from 'undici/lib/dispatcher/client.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// As the index does with all methods of lib/api. ProxyAgent opens its tunnels by this one.
Object.assign(Dispatcher.prototype, { connect });

export { buildConnector, Client, errors, Pool, ProxyAgent };
