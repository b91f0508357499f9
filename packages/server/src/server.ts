/** The server put together: content, the registry over it, the HTTP core. */
import type { RequestListener } from 'node:http';
import { CodedError } from '@omni-airgap/content';
import { type AccessEntry, HttpServer } from './http/server.ts';
import { Catalog, type Unreachable } from './registry/catalog.ts';
import { registryRoutes } from './registry/routes.ts';
import { type UploadLimits, Uploads } from './registry/upload.ts';
import { type ContentSource, Overlay, type WritableSource } from './source.ts';

export interface ServerOptions {
  /** What is served; left out, only what is pushed to `writable`. */
  readonly source?: ContentSource;
  /** Takes pushes and serves them, over what `source` has; left out, the registry is read-only. */
  readonly writable?: WritableSource;
  /** Takes an index whose children are missing; default false, as registries do. */
  readonly allowSparse?: boolean;
  readonly uploads?: UploadLimits;
  readonly onAccess?: (entry: AccessEntry) => void;
}

export interface Server {
  /** @param port 0 lets the system choose @throws NETWORK when the address cannot be bound */
  listen(host: string, port: number): Promise<void>;
  /** `http://host:port`, once it listens. */
  readonly url: string;
  /** For use inside another server. */
  readonly listener: RequestListener;
  /** Names of the source that cannot be asked for as one would expect, and why. */
  unreachable(): readonly Unreachable[];
  /** Ends connections and open uploads. */
  close(): Promise<void>;
}

/**
 * Reads the names and manifests of the source, so that what is wrong with it shows before the first request.
 * @throws DISK, and USAGE when there is nothing to serve
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const { writable, allowSparse = false, onAccess } = options;
  const source = sourceOf(options);
  const catalog = await Catalog.read(source);
  const push =
    writable === undefined
      ? undefined
      : { target: writable, uploads: new Uploads(writable, options.uploads) };
  const registry = registryRoutes({ catalog, source, allowSparse, ...(push === undefined ? {} : { push }) });
  const http = new HttpServer({ groups: [registry], ...(onAccess === undefined ? {} : { onAccess }) });
  return {
    listen: (host, port) => http.listen(host, port),
    get url() {
      return http.url;
    },
    listener: http.listener,
    unreachable: () => catalog.unreachable(),
    close: async () => {
      await http.close();
      await push?.uploads.cancelAll();
    },
  };
}

function sourceOf({ source, writable }: ServerOptions): ContentSource {
  if (source === undefined && writable === undefined) {
    throw new CodedError('USAGE', 'nothing to serve: name a bundle, a store, or a folder that takes pushes');
  }
  if (writable === undefined) return source as ContentSource;
  return source === undefined || source === writable ? writable : new Overlay(writable, source);
}
