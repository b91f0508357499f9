/** omni-airgap serve */
import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, formatBytes, printable, withCleanUp } from '@omni-airgap/oci/base';
import { checkOutputFolder } from '@omni-airgap/oci/fs';
import type { Swept } from '@omni-airgap/oci/layout';
import { createServer, openBundles, type Server, type ServerOptions, wantsFile } from '@omni-airgap/server';
import { Store } from '@omni-airgap/store';
import { isVersion, knownFactory } from '@omni-airgap/talos';
import { Command, Option } from 'commander';
import {
  collected,
  maxAgeOption,
  type PushedFlags,
  parseDuration,
  verifyKeyOption,
  withCommon,
  withExample,
  withPushed,
} from '../flags.ts';
import { count } from '../format.ts';
import { readTrust } from '../keys.ts';
import { type ServeFileFlags, ServeFiles } from '../serve-files.ts';
import { ServeLog } from '../serve-log.ts';
import { openReplicaOf, type ReplicaFlags, withReplica } from '../serve-replica.ts';
import { boundGarbage, type CommonFlags, type Session } from '../session.ts';

interface Flags extends CommonFlags, PushedFlags, ServeFileFlags, ReplicaFlags {
  readonly bundle: readonly string[];
  readonly newestOnly?: true;
  readonly store?: string;
  readonly writable?: string;
  readonly listen: string;
  readonly externalUrl?: string;
  readonly trustedProxy: readonly string[];
  readonly metricsListen?: string;
  /** Milliseconds. */
  readonly drainTimeout?: number;
  readonly factoryVersion?: string;
  readonly verifyKey: readonly string[];
  readonly allowUnsigned?: true;
  readonly maxAge?: number;
}

/** Milliseconds that answers under way may take to end once the server is told to stop. */
const defaultDrainMs = 10_000;
/** Milliseconds for which a replica answers on when it is told to stop: load balancers look every second or two. */
const noticeMs = 3_000;

export function addServe(session: Session): Command {
  const command = new Command('serve')
    .optionsGroup('What to serve:')
    .option(
      '--bundle <dir...>',
      'folder of a bundle (repeatable: media of one, increments, older ones)',
      collected,
      [],
    )
    .option('--newest-only', 'serve only the names of the newest bundle of each store')
    .option('--store <dir>', 'a store instead of a bundle')
    .option('--writable <dir>', 'take pushes into this folder, and keep wishes there')
    .option(
      '--factory-version <version>',
      `Image Factory whose IDs schematics get (default: the one that was carried, or ${knownFactory})`,
    );
  withPushed(command.optionsGroup('Housekeeping of --writable:'));
  withReplica(command)
    .optionsGroup('Trust:')
    .addOption(verifyKeyOption())
    .option('--allow-unsigned', 'serve an unsigned bundle from anyone')
    .addOption(maxAgeOption())
    .optionsGroup('Where to listen:')
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:5000')
    .option(
      '--external-url <url>',
      'how clients reach it; PXE scripts and log-ins name it (default: as each client asked)',
    )
    .option(
      '--trusted-proxy <address...>',
      'take the address of clients from X-Forwarded-For of this proxy or network (repeatable)',
      collected,
      [],
    )
    .addOption(
      new Option(
        '--drain-timeout <duration>',
        'on SIGTERM, how long answers under way may take to end (default: 10s)',
      ).argParser(parseDuration),
    )
    .option('--metrics-listen <host:port>', 'offer metrics for Prometheus there, by plain HTTP and to anyone')
    .option('--cert <file>', 'serve HTTPS with this certificate chain (PEM)')
    .option('--key <file>', 'and its key (PEM)')
    .optionsGroup('Who may connect, pull and push:')
    .option('--htpasswd <file>', 'pushing needs a log-in: users and bcrypt hashes (htpasswd -B)')
    .option('--require-login', 'pulling and the page need a log-in too')
    .option('--token-key <file>', 'sign log-in tokens with this key, the same for all replicas')
    .option('--client-ca <file>', 'only clients with a certificate of these authorities may connect (PEM)')
    .action((flags: Flags) => serve(session, flags));
  return withExample(
    withCommon(command),
    'omni-airgap serve --bundle /mnt/usb --verify-key site.pub --listen 0.0.0.0:5000',
    'omni-airgap serve --store ./store --writable /srv/registry --listen 0.0.0.0:443 \\',
    '  --cert tls.crt --key tls.key --external-url https://factory.site.example --htpasswd registry.htpasswd',
    'omni-airgap serve --registry registry.site:5000 --object-store s3://talos --s3-endpoint https://s3.site:9000 \\',
    '  --state-key state.key --listen 0.0.0.0:443 --cert tls.crt --key tls.key --external-url https://factory.site.example',
  );
}

async function serve(session: Session, flags: Flags): Promise<void> {
  const { output, signal } = session;
  if (flags.store !== undefined && flags.bundle.length > 0) {
    throw new CodedError('USAGE', 'serve takes either --bundle DIR or --store DIR');
  }
  if (flags.newestOnly === true && flags.bundle.length === 0)
    throw new CodedError('USAGE', '--newest-only needs --bundle DIR');
  const { host, port } = parseListen('--listen', flags.listen);
  const metricsAt =
    flags.metricsListen === undefined ? undefined : parseListen('--metrics-listen', flags.metricsListen);
  checkHousekeeping(flags);
  const { factoryVersion } = flags;
  if (factoryVersion !== undefined && !isVersion(factoryVersion))
    throw new CodedError('USAGE', `--factory-version ${printable(factoryVersion)}: write ${knownFactory}`);
  boundGarbage();
  const files = await ServeFiles.of(session, flags);
  const tls = await files.tls();
  const access = await files.access();
  const log = new ServeLog(output, flags.quiet === true);
  const replica = await openReplicaOf(session, flags, log);
  await withStores(flags, signal, async (stores) => {
    for (const { warning } of Object.values(stores))
      if (warning !== undefined) log.event('warn', 'store', warning);
    const server = await createServer({
      ...(replica === undefined ? await contentOf(flags, stores, log) : { replica }),
      externalUrl: flags.externalUrl,
      trustedProxies: flags.trustedProxy,
      factoryVersion,
      tls,
      housekeeping: await housekeepingOf(flags, stores, log),
      access,
      onAccess: (entry) => log.request(entry),
      metrics: metricsAt && { folder: stores.writable?.root },
    });
    files.follow(server, log);
    await withCleanUp(
      async () => {
        await server.listen(host, port);
        const metrics =
          metricsAt && `${await server.listenForMetrics(metricsAt.host, metricsAt.port)}/metrics`;
        for (const text of server.warnings()) log.event('warn', 'exposed', text);
        for (const { name, reason } of server.unreachable())
          log.event('warn', 'unreachable', `${name} cannot be pulled under its usual path: ${reason}`);
        announce(session, flags, server, metrics);
        if (!signal.aborted) await once(signal, 'abort');
        server.drain();
        if (replica !== undefined) await sleep(noticeMs);
      },
      async () => {
        files.end();
        await server.close(flags.drainTimeout ?? defaultDrainMs);
      },
    );
  });
}

/** @param metrics their URL */
function announce({ output }: Session, flags: Flags, server: Server, metrics?: string): void {
  if (flags.json === true) {
    const { url } = server;
    output.stdout(`${JSON.stringify({ url, unreachable: server.unreachable(), metrics })}\n`);
    return;
  }
  const mode = flags.writable === undefined ? ', read-only' : ', taking pushes';
  const what = flags.registry === undefined ? '' : ` ${flags.registry}`;
  output.notice(`Serving${what} at ${server.url}${mode}. Ctrl-C ends it.\n`);
  if (metrics !== undefined) output.notice(`Metrics at ${metrics}.\n`);
}

/** Folders that are served, open for as long as the server runs. */
interface Stores {
  readonly source?: Store;
  readonly writable?: Store;
}

/**
 * Nobody removes content from what is served, and nobody else uses what takes pushes.
 * @throws NO_INPUT, BUSY, BAD_DOCUMENT, DISK, and what the work throws
 */
async function withStores(
  { store, writable }: Flags,
  signal: AbortSignal,
  work: (stores: Stores) => Promise<void>,
): Promise<void> {
  const purpose = 'omni-airgap serve';
  const withSource = async (more: Stores): Promise<void> => {
    if (store === undefined || (await isSameFolder(store, writable))) return work(more);
    return Store.use(store, { access: 'read', purpose, signal }, (source) => work({ ...more, source }));
  };
  if (writable === undefined) return withSource({});
  await checkOutputFolder('--writable', writable);
  const opening = { access: 'exclusive', purpose, create: true, signal } as const;
  return Store.use(writable, opening, (opened) => withSource({ writable: opened }));
}

async function isSameFolder(path: string, other: string | undefined): Promise<boolean> {
  if (other === undefined) return false;
  const [one, two] = await Promise.all(
    [path, other].map((name) => realpath(name).catch(() => resolve(name))),
  );
  return one === two;
}

async function contentOf(
  { bundle, verifyKey, allowUnsigned, maxAge, newestOnly }: Flags,
  { source, writable }: Stores,
  log: ServeLog,
): Promise<
  Pick<ServerOptions, 'source' | 'provenance' | 'olderNames' | 'writable' | 'wishesFile' | 'allowSparse'>
> {
  const trust = bundle.length === 0 ? undefined : await readTrust(verifyKey, allowUnsigned === true);
  const opened =
    trust === undefined ? undefined : await openBundles(bundle, trust, { maxAgeDays: maxAge, newestOnly });
  for (const text of opened?.warnings ?? []) log.event('warn', 'bundle', text);
  for (const text of opened?.notes ?? []) log.event('info', 'bundle', text);
  return {
    ...(opened === undefined
      ? {}
      : { source: opened.source, provenance: opened.provenance, olderNames: opened.olderNames }),
    ...(source === undefined ? {} : { source: await source.openLayout() }),
    ...(writable === undefined
      ? {}
      : {
          writable: await writable.openLayout(),
          wishesFile: join(writable.root, wantsFile),
          // A site may have been brought one platform only.
          allowSparse: true,
        }),
  };
}

/** Shorter than this, the pause between two requests of a push can be longer. */
const leastGraceMs = 60_000;

/** @throws USAGE */
function checkHousekeeping({ writable, gracePeriod, deleteUntaggedAfter }: Flags): void {
  if (writable === undefined && (gracePeriod !== undefined || deleteUntaggedAfter !== undefined)) {
    throw new CodedError('USAGE', '--grace-period and --delete-untagged-after need --writable DIR');
  }
  if (gracePeriod !== undefined && gracePeriod < leastGraceMs) {
    throw new CodedError('USAGE', '--grace-period: must be 1m or longer for serve; only gc accepts less');
  }
}

/** Off in a folder that is a store too: its records know of content that has no name yet. */
async function housekeepingOf(
  { gracePeriod, deleteUntaggedAfter }: Flags,
  { writable }: Stores,
  log: ServeLog,
): Promise<ServerOptions['housekeeping'] & {}> {
  if (writable !== undefined && !(await writable.isOnlyPushed())) {
    log.event(
      'warn',
      'housekeeping',
      `${writable.root} is also a store, so serve removes nothing from it: stop serve, then run gc --store`,
    );
    return false;
  }
  return {
    graceMs: gracePeriod,
    deleteUntaggedAfterMs: deleteUntaggedAfter,
    onSwept: (swept) => {
      for (const line of sweptLines(swept)) log.event('info', 'housekeeping', line);
    },
    onProblem: (message) => log.event('error', 'housekeeping', message),
  };
}

/** What housekeeping removed, for the log: names of manifests first, since they cannot be pulled any more. */
function sweptLines({ untagged, blobs, bytes }: Swept): readonly string[] {
  return [
    ...untagged.map((name) => `deleted the untagged manifest ${printable(name)}`),
    `removed ${count(blobs, 'blob')} (${formatBytes(bytes)}) that no manifest needs`,
  ];
}

/** @throws USAGE */
function parseListen(flag: string, text: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65535) {
    throw new CodedError('USAGE', `${flag} ${printable(text)}: write HOST:PORT, such as 0.0.0.0:5000`);
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}
