/** The server put together: content, the registry and the Image Factory over it, the page, the HTTP core. */
import type { RequestListener } from 'node:http';
import { CodedError } from '@omni-airgap/oci/base';
import type { Swept } from '@omni-airgap/oci/layout';
import { isRegistryHost } from '@omni-airgap/oci/model';
import { Access, type AccessOptions } from './access/access.ts';
import { exposureOf } from './access/exposure.ts';
import type { LogIns } from './access/htpasswd.ts';
import { type Backend, type CarriedOptions, carriedBackend } from './backend.ts';
import type { Provenance } from './bundles.ts';
import { factoryRoutes } from './factory/factory-routes.ts';
import { Schematics } from './factory/schematics.ts';
import { type Health, healthOf, healthRoutes } from './health.ts';
import type { Request, RouteGroup } from './http/message.ts';
import { type AccessEntry, HttpServer, type TlsOptions } from './http/server.ts';
import type { Metrics, MetricsContext, MetricsOptions } from './metrics.ts';
import { pageRoutes } from './page/page.ts';
import type { Unreachable } from './registry/catalog.ts';
import { registryRoutes } from './registry/registry-routes.ts';
import { redirecting } from './replica/redirects.ts';
import { wishOfImage } from './wishes/wish.ts';
import type { WantsDocument } from './wishes/wishes.ts';

/** What is served and how. Of files, see CarriedOptions. */
export interface ServerOptions extends CarriedOptions {
  /** A registry and a bucket that are served instead of files. The server closes it. */
  readonly replica?: Backend | undefined;
  /**
   * `https://factory.site.example`: what PXE scripts and lists point to. Left out, each client is pointed to the
   * host it asked for.
   */
  readonly externalUrl?: string | undefined;
  /**
   * Release of the Image Factory, such as `v1.5.0`, whose IDs schematics get that were not carried. Left out, that of the
   * newest image siderolabs/image-factory in the source, or else the newest known.
   */
  readonly factoryVersion?: string | undefined;
  /** Left out: plain HTTP. */
  readonly tls?: TlsOptions | undefined;
  /**
   * Proxies in front, as IP addresses and networks (`10.0.0.0/24`): X-Forwarded-For of these names the client in the log and in
   * the limit of wrong passwords. Left out: that header is never read.
   */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Left out: anyone may pull, and push where `writable` is given. */
  readonly access?: AccessOptions | undefined;
  /** Shown on the page and in /healthz. */
  readonly provenance?: readonly Provenance[];
  readonly onAccess?: (entry: AccessEntry) => void;
  /** Counts what happens, for `listenForMetrics`; left out, nothing is counted. */
  readonly metrics?: MetricsOptions | undefined;
}

export interface Server {
  /** @param port 0 lets the system choose @throws NETWORK when the address cannot be bound */
  listen(host: string, port: number): Promise<void>;
  /** `http://host:port`, or https, once it listens. */
  readonly url: string;
  /**
   * Serves `/metrics` on a port of its own, by plain HTTP and without a log-in.
   * @returns its URL @throws NETWORK when the address cannot be bound; INTERNAL for a server without `metrics`
   */
  listenForMetrics(host: string, port: number): Promise<string>;
  /** For use inside another server. */
  readonly listener: RequestListener;
  /** Names of the source that cannot be asked for as one would expect, and why. */
  unreachable(): readonly Unreachable[];
  /** What the operator should know about who can reach this server; on the page too. */
  warnings(): readonly string[];
  /** From now on these may log in. @throws INTERNAL for a server without `access` */
  setLogIns(logIns: LogIns): void;
  /**
   * New connections get this certificate.
   * @throws CONFIG when it cannot be used, and the one before stays; INTERNAL for a server without `tls`
   */
  setTls(tls: TlsOptions): void;
  /** What was asked for and is not here. */
  wishes(): Promise<WantsDocument>;
  health(): Health;
  /**
   * Removes from `writable` what is due now, as the server does by itself from time to time.
   * @throws as the sweep of a layout; USAGE for a server without housekeeping
   */
  sweep(): Promise<Swept>;
  /** From now on it is not ready, so that a load balancer sends nobody here; it still answers who comes. */
  drain(): void;
  /**
   * Ends connections and open uploads, and writes wishes that are not written yet.
   * @param graceMs answers under way may take this long to end; default 0
   */
  close(graceMs?: number): Promise<void>;
}

/** As the Image Factory's own, whose clients look for the word Enterprise in it. */
const serverName = 'Image Factory omni-airgap';

/**
 * Reads the names and manifests of the source, so that what is wrong with it shows before the first request.
 * @throws DISK; USAGE when there is nothing to serve, externalUrl is none or a trusted proxy no address; BAD_VERSION; CONFIG
 * for a certificate that cannot be used
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const { onAccess, tls, provenance = [], olderNames = new Map() } = options;
  const backend = options.replica ?? (await carriedBackend(options));
  const { images, holdings, wishes, push, condition } = backend;
  const schematics = new Schematics(holdings, backend.made, wishes, options.factoryVersion);
  let isDraining = false;
  const fixedUrl = options.externalUrl === undefined ? undefined : checkUrl(options.externalUrl);
  const scheme = tls === undefined ? 'http' : 'https';
  const externalUrl = ({ headers }: Request): string => {
    const host = headers.host?.toLowerCase() ?? '';
    return fixedUrl ?? (isRegistryHost(host) ? `${scheme}://${host}` : http.url);
  };
  const access = options.access === undefined ? undefined : new Access(options.access, externalUrl);
  const registry = registryRoutes({
    images,
    push,
    readOnly: backend.readOnly,
    access,
    onMissing: async (repository, reference, ns, signal) => {
      const wish = wishOfImage(repository, reference, ns);
      if (wish !== undefined) await wishes.add(wish, signal);
    },
  });
  const shared = {
    index: backend.index,
    condition,
    holdings,
    schematics,
    wishes,
    provenance,
    olderNames,
    externalUrl,
    isWritable: push !== undefined,
    warnings: () =>
      exposureOf({
        url: http.url,
        isWritable: push !== undefined,
        hasLogIns: access !== undefined,
        isMutual: tls?.clientCa !== undefined,
        externalUrl: fixedUrl,
      }),
  };
  const metrics = await metricsOf(options, {
    ...shared,
    uploads: push?.uploads,
    access,
    upstream: backend.upstream,
  });
  const metricsHttp = metrics && new HttpServer({ groups: [metrics.routes()], name: serverName });
  const withLogIn = (group: RouteGroup, isOpen?: (segments: readonly string[]) => boolean): RouteGroup =>
    access?.pages(group, isOpen) ?? group;
  const schemeOf = ({ headers }: Request): 'http' | 'https' | undefined => {
    if (tls !== undefined) return 'https';
    if (fixedUrl === undefined) return 'http';
    const { host, protocol } = new URL(fixedUrl);
    // Who names another host may have come through a proxy that speaks TLS, or not.
    return headers.host?.toLowerCase() === host ? (protocol === 'https:' ? 'https' : 'http') : undefined;
  };
  const content = (group: RouteGroup): RouteGroup =>
    backend.isRedirecting === true ? redirecting(group, schemeOf) : group;
  const http = new HttpServer({
    groups: [
      content(registry),
      withLogIn(content(factoryRoutes(shared)), isForMachines),
      healthRoutes({ ...shared, isDraining: () => isDraining }),
      withLogIn(pageRoutes(shared)),
      ...(access === undefined ? [] : [access.routes()]),
    ],
    name: serverName,
    tls,
    trustedProxies: options.trustedProxies,
    onAccess: (entry) => {
      metrics?.request(entry);
      onAccess?.(entry);
    },
  });
  return {
    listen: (host, port) => http.listen(host, port),
    get url() {
      return http.url;
    },
    listenForMetrics: async (host, port) => {
      if (metricsHttp === undefined) throw new CodedError('INTERNAL', 'the server counts nothing');
      await metricsHttp.listen(host, port);
      return metricsHttp.url;
    },
    listener: http.listener,
    unreachable: () => backend.unreachable(),
    warnings: shared.warnings,
    setLogIns: (logIns) => {
      if (access === undefined) throw new CodedError('INTERNAL', 'the server has no log-ins');
      access.setLogIns(logIns);
    },
    setTls: (changed) => http.setTls(changed),
    wishes: () => wishes.document(),
    health: () => healthOf(shared),
    drain: () => {
      isDraining = true;
      http.drain();
    },
    sweep: async () => {
      if (backend.housekeeping !== undefined) return backend.housekeeping.sweep();
      throw new CodedError('USAGE', 'housekeeping is off in this server, or it takes no pushes');
    },
    close: async (graceMs) => {
      await backend.housekeeping?.close();
      await http.close(graceMs);
      await metricsHttp?.close();
      await backend.close();
    },
  };
}

/** Whoever asks for no metrics does not load the library for them. */
async function metricsOf({ metrics }: ServerOptions, context: MetricsContext): Promise<Metrics | undefined> {
  if (metrics === undefined) return undefined;
  const { Metrics } = await import('./metrics.ts');
  return new Metrics(context, metrics);
}

/** Boot assets and the scripts that name them: firmware and boot loaders cannot log in. */
function isForMachines([first]: readonly string[]): boolean {
  return first === 'image' || first === 'pxe';
}

/** @returns it without a slash at its end @throws USAGE */
function checkUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (url === null || !isPlain || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CodedError(
      'USAGE',
      'the external URL must be http or https, a host and at most a path, such as https://factory.site.example',
    );
  }
  return url.href.replace(/\/+$/, '');
}
