/**
 * egress check: whether everything that a mirror.yaml needs can be reached from here, tried for real and in small:
 * name, TCP, TLS, token, and one byte of content per domain. It says which firewall rule is missing.
 */

import { isIP } from 'node:net';
import type { Fetcher } from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import {
  addressesOf,
  type EgressPolicy,
  type EgressRecord,
  hostAllowed,
  parseUpstream,
  proxyFor,
  saysPage,
  unexpectedAnswer,
} from '@omni-airgap/oci/http';
import { fetchManifest, isIndexType, parseReference } from '@omni-airgap/oci/model';
import { type Network, type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import {
  type EgressHost,
  hostPattern,
  imagePath,
  publicFactoryHost,
  schematicFrom,
  versionsPath,
} from '@omni-airgap/talos';
import { asAnnounced } from '../images/image.ts';
import { chooseVersions, withStandIns } from '../mirror/chosen-versions.ts';
import { type Mirror, readMirror } from '../mirror/mirror.ts';
import { hostsOf, type ResolvedMirror, resolveMirror } from '../mirror/resolved-mirror.ts';

interface CheckOptions {
  readonly config: string;
  readonly network: NetworkSettings;
  readonly signal?: AbortSignal;
}

export interface CheckedHost {
  /** As the rule names it. */
  readonly pattern: string;
  readonly port: number;
  readonly why: string;
  /** `unseen`: nothing led to a host of this pattern just now, so nothing can be said of it. */
  readonly state: 'ok' | 'failed' | 'unseen';
  /** The host that was tried. */
  readonly host?: string;
  readonly connection?: ConnectionReport;
  /** Whether the registry let us in once it had asked for a token; `none` where it wants none, absent elsewhere. */
  readonly token?: 'ok' | 'failed' | 'none' | undefined;
  /** Of the last answer. */
  readonly status?: number | undefined;
  readonly problem?: string;
  /** What the firewall must let through, when it does not. */
  readonly missingRule?: string;
}

export interface EgressCheck {
  readonly ok: boolean;
  readonly hosts: readonly CheckedHost[];
}

/** Registries are asked at another host than references name. */
const apiHostOf = (registry: string): string =>
  registry === 'docker.io' ? 'registry-1.docker.io' : registry;

/** @throws CONFIG, NO_INPUT, USAGE; what cannot be reached stands in the report */
export async function checkEgress(options: CheckOptions): Promise<EgressCheck> {
  const { network, signal } = options;
  const wanted = resolveMirror(await wantedMirror(options));
  const rules = hostsOf(wanted);
  const upstreams = network.upstreams.map(parseUpstream);
  const reports = new Map<string, Promise<ConnectionReport>>();
  const probing = await openNetwork(network, { hosts: rules.map(hostPattern), allowPrivate: false });
  const connect = (host: string): Promise<ConnectionReport> => {
    const url = upstreams.find((upstream) => upstream.host === host)?.url ?? new URL(`https://${host}`);
    const proxy = proxyFor(network.proxy, url) !== undefined;
    const report = reports.get(host) ?? tryConnection(probing, host, { url, proxy, signal });
    reports.set(host, report);
    return report;
  };
  try {
    return await checkHosts(wanted, rules, connect, options);
  } finally {
    await probing.close();
  }
}

async function checkHosts(
  wanted: ResolvedMirror,
  rules: readonly EgressHost[],
  connect: (host: string) => Promise<ConnectionReport>,
  options: CheckOptions,
): Promise<EgressCheck> {
  const tokens = new Map<string, CheckedHost['token']>();
  const runs = await Promise.all(
    probesOf(wanted).map(async (probe): Promise<ProbeRun> => {
      // Where no connection comes about, asking again and again says no more.
      const { problem } = await connect(probe.host);
      if (problem !== undefined) return { records: [] };
      const run = await runProbe(probe, rules, options);
      if (probe.isRegistry) tokens.set(probe.host, tokenIn(run.records));
      return run;
    }),
  );
  const records = runs.flatMap((run) => run.records);
  const problems = new Map(runs.flatMap((run) => (run.problem === undefined ? [] : [run.problem])));
  const hosts = await Promise.all(
    rules.map(async (rule): Promise<CheckedHost> => {
      const host = hostOfRule(rule, records);
      if (host === undefined) return { ...rule, state: 'unseen' };
      const { isBlocked, ...connection } = await connect(host);
      const status = records.findLast(
        (record) => record.host === host && record.status !== undefined,
      )?.status;
      const problem = connection.problem ?? problems.get(host);
      const token = tokens.get(host);
      const base = {
        ...rule,
        host,
        connection,
        token,
        status,
      };
      if (problem === undefined) return { ...base, state: 'ok' };
      return {
        ...base,
        state: 'failed',
        problem,
        ...(isBlocked === true ? { missingRule: `allow TCP ${rule.port} to ${rule.pattern}` } : {}),
      };
    }),
  );
  return { ok: hosts.every((host) => host.state !== 'failed'), hosts };
}

/** With the versions that upstream has; where it cannot be asked for them, the probes tell why. */
async function wantedMirror({ config, network, signal }: CheckOptions): Promise<Mirror> {
  const written = await readMirror(config);
  try {
    const options = { lock: undefined, network, update: false, scope: { signal } };
    return (await chooseVersions(written, options)).mirror;
  } catch (error) {
    if (!isCoded(error) || error.code === 'ABORTED') throw error;
    return withStandIns(written);
  }
}

/** What came of a probe. */
interface ProbeRun {
  readonly records: readonly EgressRecord[];
  readonly problem?: readonly [host: string, what: string];
}

interface Probe {
  /** Host that is asked first. */
  readonly host: string;
  readonly isRegistry: boolean;
  run(network: Network, signal: AbortSignal | undefined): Promise<void>;
}

/** With a network of its own, so that what was recorded last is what it did last. */
async function runProbe(
  probe: Probe,
  rules: readonly EgressHost[],
  options: CheckOptions,
): Promise<ProbeRun> {
  const records: EgressRecord[] = [];
  const network = await openNetwork(options.network, {
    hosts: rules.map(hostPattern),
    allowPrivate: false,
    egressLog: { record: (record) => records.push(record) },
  });
  try {
    await probe.run(network, options.signal);
    return { records };
  } catch (error) {
    if (!isCoded(error) || error.code === 'ABORTED') throw error;
    // It broke at the host that was asked last: what was redirected to, or the first.
    return { records, problem: [records.at(-1)?.host ?? probe.host, messageOf(error)] };
  } finally {
    await network.close();
  }
}

function probesOf(wanted: ResolvedMirror): readonly Probe[] {
  const first = new Map<string, string>();
  for (const { reference } of wanted.images) {
    const { registry } = parseReference(reference);
    if (!first.has(registry)) first.set(registry, reference);
  }
  const probes: Probe[] = [...first]
    .filter(([registry]) => registry !== publicFactoryHost)
    .map(([registry, reference]) => ({
      host: apiHostOf(registry),
      isRegistry: true,
      run: (network, signal) => probeRegistry(network, reference, signal),
    }));
  const [version] = wanted.lists?.versions ?? [];
  if (version !== undefined) {
    probes.push({
      host: publicFactoryHost,
      isRegistry: false,
      run: (network, signal) => probeFactory(network, version, signal),
    });
  }
  return probes;
}

/** Token, manifest, and the first byte of a blob, which most registries redirect to their storage. */
async function probeRegistry(network: Network, name: string, signal: AbortSignal | undefined): Promise<void> {
  const reference = parseReference(name);
  const repository = network.registry(reference.registry).repository(reference.repository);
  const root = await repository.resolve(reference.digest ?? reference.tag ?? 'latest', signal);
  if (root === undefined) throw new CodedError('NOT_FOUND', `${name} does not exist upstream`);
  const announced = asAnnounced(repository, root, reference.registry);
  const config = await configOf(announced, root, signal);
  for await (const _ of repository.fetchFrom(config, Math.max(0, config.size - 1), signal)) break;
}

async function configOf(
  repository: Fetcher,
  root: Parameters<typeof fetchManifest>[1],
  signal: AbortSignal | undefined,
): Promise<Parameters<typeof fetchManifest>[1]> {
  const { manifest } = await fetchManifest(repository, root, signal);
  if (manifest.kind === 'image') return manifest.config;
  const [child] = manifest.manifests;
  if (child === undefined || isIndexType(child.mediaType)) return root;
  return configOf(repository, child, signal);
}

/** The list of versions, and the first byte of the smallest file there is: a command line, which builds at once. */
async function probeFactory(
  network: Network,
  version: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { id } = schematicFrom('customization: {}\n');
  for (const path of [versionsPath, imagePath(id, version, 'cmdline-metal-amd64')]) {
    const response = await network.gate.request({
      method: 'GET',
      url: `https://${publicFactoryHost}/${path}`,
      headers: { range: 'bytes=0-0' },
      signal,
    });
    await response.cancel();
    if (response.status >= 400) {
      throw new CodedError('UPSTREAM', `${response.url.host} answers ${response.status} for ${path}`, {
        status: response.status,
      });
    }
    if (saysPage(response)) throw unexpectedAnswer(response, path, 'an answer of the Image Factory');
  }
}

/** A registry says 401 first where it wants to know who asks, and something else once it does. */
function tokenIn(records: readonly EgressRecord[]): 'ok' | 'failed' | 'none' {
  const answers = records.filter(({ path }) => path.startsWith('/v2/')).map(({ status }) => status);
  if (!answers.includes(401)) return 'none';
  return answers.at(-1) === 401 ? 'failed' : 'ok';
}

/** A host of the rule that was asked, or the rule's own when it is no pattern. */
function hostOfRule(rule: EgressHost, records: readonly EgressRecord[]): string | undefined {
  const own = hostPattern(rule);
  if (!rule.pattern.startsWith('*.')) return own;
  const policy: EgressPolicy = { hosts: [rule.pattern], plainHttp: [], allowPrivate: true, upstreams: [] };
  return records.map((record) => record.host).find((host) => hostAllowed(policy, new URL(`https://${host}`)));
}

interface ConnectionReport {
  /** What the name stands for; empty behind a proxy, which looks it up. */
  readonly addresses: readonly string[];
  readonly tcp: 'ok' | 'failed' | 'not tried';
  /** `none` where the operator mapped the host to plain HTTP. */
  readonly tls: 'ok' | 'failed' | 'not tried' | 'none';
  /** Organization or name of whoever signed the certificate. */
  readonly issuer?: string | undefined;
  readonly via?: 'proxy';
  /** The first thing that went wrong, in words. */
  readonly problem?: string;
  /** True where a firewall may be what keeps packets from the host itself. */
  readonly isBlocked?: boolean;
}

/** Causes of failures by the step that they end; what has another cause got through. */
const steps: ReadonlyMap<string, 'name' | 'tcp' | 'tls'> = new Map([
  ...['name unknown', 'no name server'].map((cause) => [cause, 'name'] as const),
  ...['refused', 'unreachable', 'no connection', 'proxy log-in', 'proxy refusal'].map(
    (cause) => [cause, 'tcp'] as const,
  ),
  // A firewall that looks at names ends the connection when it has seen the one of TLS.
  ...['cut', 'no TLS', 'only HTTP/2', 'TLS', 'client certificate'].map((cause) => [cause, 'tls'] as const),
]);

/**
 * One connection to a host, by the smallest request there is, through the gate as a fetch makes it: proxy, policy and
 * authorities are the same. It says where it breaks, and who vouches for the other side: a firewall that looks inside
 * shows itself by its own issuer. Throws ABORTED only.
 */
async function tryConnection(
  { gate }: Network,
  host: string,
  {
    url,
    proxy,
    signal,
  }: { readonly url: URL; readonly proxy: boolean; readonly signal?: AbortSignal | undefined },
): Promise<ConnectionReport> {
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = proxy ? [] : isIP(name) ? [name] : await addressesOf(name).catch(() => []);
  const base = { addresses, ...(proxy ? { via: 'proxy' as const } : {}) };
  const secured = url.protocol === 'https:' ? 'ok' : 'none';
  try {
    const peer = host === publicFactoryHost ? 'factory' : 'registry';
    const response = await gate.request({
      method: 'HEAD',
      url: `https://${host}/`,
      peer,
      follow: false,
      signal,
    });
    await response.cancel();
    const { issuer } = response;
    return { ...base, tcp: 'ok', tls: secured, ...(issuer === '' ? {} : { issuer }) };
  } catch (error) {
    if (!isCoded(error) || error.code === 'ABORTED') throw error;
    const problem = error.message;
    const { cause = '', peer } = error.failure ?? {};
    const step = cause.startsWith('certificate ') ? 'tls' : steps.get(cause);
    if (error.failure === undefined || step === 'name')
      return { ...base, tcp: 'not tried', tls: 'not tried', problem };
    if (step === 'tcp' || peer === 'proxy')
      return { ...base, tcp: 'failed', tls: 'not tried', problem, isBlocked: peer !== 'proxy' };
    if (step === 'tls') return { ...base, tcp: 'ok', tls: 'failed', problem };
    // Something answers there: what it says to a real request is what counts.
    return { ...base, tcp: 'ok', tls: secured };
  }
}
