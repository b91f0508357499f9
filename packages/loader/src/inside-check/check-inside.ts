/**
 * `egress check --inside`: what must work at the site before and after a load. Nothing but the named targets is asked,
 * and only what a probe needs is written.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostsOf, type ObjectStoreTarget, openSink } from '@omni-airgap/objects';
import { CodedError } from '@omni-airgap/oci/base';
import { isPlainHttp } from '@omni-airgap/oci/http';
import { type Network, type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { type ReachedRegistry, type Site, siteUrl, unmetDemands } from '@omni-airgap/talos';
import { registryAsSeen } from '../handoff.ts';
import type { RegistryTarget } from '../targets/names.ts';
import { checkInstallers } from './check-installers.ts';
import { checkObjectsInside, probePartSize } from './check-objects.ts';
import { checkRegistryInside } from './check-registry.ts';
import { checkCertificates, checkFactory, checkLogIn, checkNames, checkOmni } from './check-services.ts';
import { askTime, clockVerdict } from './connect.ts';
import { type Finding, finding } from './finding.ts';
import { checkWireguard } from './wireguard.ts';

export interface InsideCheck {
  readonly registry?: RegistryTarget | undefined;
  readonly objectStore?: ObjectStoreTarget | undefined;
  readonly keepHost?: boolean;
  readonly site: Site;
  /** PEM of the site's authority. */
  readonly ca?: string;
  readonly network: NetworkSettings;
  readonly signal?: AbortSignal | undefined;
}

export interface InsideReport {
  /** False when anything failed. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** Source: AWS Signature Version 4, "Elements of a request signature". */
const maxSignatureAgeMs = 15 * 60_000;

/** @throws USAGE when nothing was named; ABORTED */
export async function checkInside(check: InsideCheck): Promise<InsideReport> {
  const { registry, objectStore, site, signal } = check;
  if (registry === undefined && objectStore === undefined && Object.keys(site).length === 0) {
    throw new CodedError(
      'USAGE',
      'nothing to check: name --site FILE, --registry HOST or --object-store URL',
    );
  }
  const statuses: number[] = [];
  const factory = site.factory === undefined ? null : URL.parse(site.factory);
  const login = siteUrl(site, 'login');
  const issuer = login === undefined ? null : URL.parse(login);
  const omni = site.omni === undefined ? null : URL.parse(site.omni);
  const targets = [...(registry === undefined ? [] : [registry.host]), ...hostsOf(objectStore)];
  const notes: Finding[] = [];
  const network = await openNetwork(check.network, {
    hosts: [...targets, ...[factory, issuer, omni].flatMap((url) => (url === null ? [] : [url.host]))],
    identifyTo: targets,
    allowPrivate: true,
    onNote: (detail) => void notes.push({ subject: 'network', what: 'note', state: 'note', detail }),
    egressLog: { record: ({ status }) => void statuses.push(status ?? 0) },
  });
  try {
    const reached =
      registry &&
      registryAsSeen(site, { ...registry, plainHttp: isPlainHttp(check.network.plainHttp, registry.host) });
    const findings: Finding[] = [...(await checkNames(site, registry?.host)), ...checkDemands(site, reached)];
    if (registry !== undefined) {
      const client = network.registry(registry.host);
      findings.push(
        ...(await checkRegistryInside({
          client,
          target: registry,
          keepHost: check.keepHost === true,
          statuses: () => statuses,
          signal,
        })),
      );
    }
    if (objectStore?.kind === 's3') {
      findings.push(await checkStoreClock(network, objectStore.settings.endpoint, signal));
    }
    if (objectStore !== undefined)
      findings.push(...(await withFolder((folder) => objects(objectStore, network, folder, signal))));
    const answer = factory === null ? undefined : await checkFactory(network, factory, signal);
    if (answer !== undefined) findings.push(answer.finding);
    if (registry !== undefined)
      findings.push(
        ...(await checkInstallers({
          network,
          settings: check.network,
          target: registry,
          keepHost: check.keepHost === true,
          factory: answer === undefined || factory === null ? undefined : { ...answer, host: factory.host },
          signal,
        })),
      );
    if (login !== undefined) findings.push(await checkLogIn(network, login, signal));
    if (omni !== null) findings.push(await checkOmni(network, omni, signal));
    const isProxied = check.network.proxy !== undefined;
    const named = Object.keys(site).length === 0 ? undefined : reached;
    findings.push(
      ...(await checkCertificates(site, named, {
        ca: check.ca,
        without: isProxied ? ['factory', 'registry'] : [],
        signal,
      })),
      ...(await checkWireguard(site)),
    );
    for (const server of site.ntp ?? []) findings.push(await finding('time', server, () => askTime(server)));
    return { ok: findings.every(({ state }) => state !== 'failed'), findings: [...notes, ...findings] };
  } finally {
    await network.close();
  }
}

/** What others demand of the URLs: this client may be content with less. */
function checkDemands(site: Site, reached: ReachedRegistry | undefined): readonly Finding[] {
  const unmet = unmetDemands(site, reached).map(
    ({ subject, consumer, severity, problem }): Finding => ({
      subject: 'site file',
      what: `${subject} for ${consumer}`,
      state: severity === 'warns' || severity === 'limits' ? 'note' : 'failed',
      detail: problem,
    }),
  );
  if (unmet.length > 0 || Object.keys(site).length === 0) return unmet;
  return [
    {
      subject: 'site file',
      what: 'demands',
      state: 'ok',
      detail: 'URLs are as Omni, machines and browsers need them',
    },
  ];
}

async function objects(
  target: ObjectStoreTarget,
  network: Network,
  folder: string,
  signal?: AbortSignal,
): Promise<readonly Finding[]> {
  const sink = await openSink(target, network, folder, { partSize: probePartSize });
  try {
    return await checkObjectsInside(sink, folder, signal);
  } finally {
    await sink.close();
  }
}

/** Signatures name the time: a store refuses those that are a quarter of an hour old, or from the future. */
function checkStoreClock(network: Network, endpoint: URL, signal?: AbortSignal): Promise<Finding> {
  return finding('object store', 'clock', async () => {
    const response = await network.gate.request({
      method: 'GET',
      url: endpoint,
      follow: false,
      signal,
    });
    await response.cancel();
    const there = Date.parse(response.headers['date'] ?? '');
    if (Number.isNaN(there)) return { note: 'it does not say what time it has' };
    const behind = there - Date.now();
    if (Math.abs(behind) > maxSignatureAgeMs) {
      throw new CodedError(
        'UPSTREAM',
        `its clock and the one of this host are ${Math.round(Math.abs(behind) / 1000)} s apart, and it refuses signatures that are more than ${maxSignatureAgeMs / 60_000} minutes off; set this host to the site's time server`,
      );
    }
    // The header tells whole seconds.
    return clockVerdict(endpoint.host, Math.abs(behind) < 1000 ? 0 : behind);
  });
}

async function withFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'omni-airgap-check-'));
  try {
    return await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}
