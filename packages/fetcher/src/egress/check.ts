/**
 * egress check: whether everything that a mirror.yaml needs can be reached from here, tried for real and in small:
 * name, TCP, TLS, token, and one byte of content per domain. It says which firewall rule is missing.
 */

import { fetchManifest, isIndexType, parseReference } from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import { readSmallFile } from '@omni-airgap/oci/fs';
import type { EgressRecord } from '@omni-airgap/oci/http';
import { type EgressPolicy, hostAllowed, parseUpstream } from '@omni-airgap/oci/http';
import {
  type Network,
  type NetworkSettings,
  openNetwork,
  type RepositoryClient,
} from '@omni-airgap/oci/registry';
import {
  type EgressHost,
  hostPattern,
  imagePath,
  publicFactoryHost,
  schematicFrom,
  versionsPath,
} from '@omni-airgap/talos';
import { readMirror } from '../mirror/mirror.ts';
import { hostsOf, type Wanted, wantedOf } from '../wanted.ts';
import { type ConnectionReport, tryConnection } from './connection.ts';

export interface CheckOptions {
  readonly config: string;
  readonly network: NetworkSettings;
  /** For each step of a connection; default 10 s. */
  readonly timeoutMs?: number;
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
  readonly token?: 'ok' | 'failed' | 'none';
  /** Of the last answer. */
  readonly status?: number;
  readonly problem?: string;
  /** What the firewall must let through, when it does not. */
  readonly missingRule?: string;
}

export interface EgressCheck {
  readonly ok: boolean;
  readonly hosts: readonly CheckedHost[];
}

const defaultTimeoutMs = 10_000;
/** Registries are asked at another host than references name. */
const apiHostOf = (registry: string): string =>
  registry === 'docker.io' ? 'registry-1.docker.io' : registry;

/** @throws CONFIG, NO_INPUT, USAGE; what cannot be reached stands in the report */
export async function checkEgress(options: CheckOptions): Promise<EgressCheck> {
  const { timeoutMs = defaultTimeoutMs, network } = options;
  const wanted = wantedOf(await readMirror(options.config));
  const rules = hostsOf(wanted);
  const pem = network.caCert === undefined ? undefined : await readSmallFile(network.caCert, 1024 * 1024);
  const ca = pem === undefined ? undefined : Buffer.from(pem).toString('latin1');
  const upstreams = network.upstreams.map(parseUpstream);
  const reports = new Map<string, Promise<ConnectionReport>>();
  const connect = (host: string): Promise<ConnectionReport> => {
    const url = upstreams.find((upstream) => upstream.host === host)?.url ?? new URL(`https://${host}`);
    const report = reports.get(host) ?? tryConnection(url, { ca, proxy: network.proxy, timeoutMs });
    reports.set(host, report);
    return report;
  };
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
      const connection = await connect(host);
      const status = records.findLast(
        (record) => record.host === host && record.status !== undefined,
      )?.status;
      const problem = connection.problem ?? problems.get(host);
      const token = tokens.get(host);
      const base = {
        ...rule,
        host,
        connection,
        ...(token === undefined ? {} : { token }),
        ...(status === undefined ? {} : { status }),
      };
      if (problem === undefined) return { ...base, state: 'ok' };
      const isBlocked = connection.tcp !== 'ok';
      return {
        ...base,
        state: 'failed',
        problem,
        ...(isBlocked ? { missingRule: `allow TCP ${rule.port} to ${rule.pattern}` } : {}),
      };
    }),
  );
  return { ok: hosts.every((host) => host.state !== 'failed'), hosts };
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

function probesOf(wanted: Wanted): readonly Probe[] {
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
  const config = await configOf(repository, root, signal);
  for await (const _ of repository.fetchFrom(config, Math.max(0, config.size - 1), signal)) break;
}

async function configOf(
  repository: RepositoryClient,
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
      ...(signal === undefined ? {} : { signal }),
    });
    await response.cancel();
    if (response.status >= 400) {
      throw new CodedError('UPSTREAM', `${response.url.host} answers ${response.status} for ${path}`, {
        status: response.status,
      });
    }
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
