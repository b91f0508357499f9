/**
 * `egress check --inside`: what must work at the site before and after a load. Nothing but the named targets is asked,
 * and only what a probe needs is written.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostsOf, type ObjectStoreTarget, openSink } from '@omni-airgap/objects';
import { CodedError, parseStrictJson } from '@omni-airgap/oci/base';
import { looksLikePage, saysPage, unexpectedAnswer } from '@omni-airgap/oci/http';
import { type Network, type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { type Site, selfHostedWireguardPort, unmetDemands, versionsPath } from '@omni-airgap/talos';
import { registryAsSeen } from '../handoff.ts';
import type { RegistryTarget } from '../targets/names.ts';
import { checkObjectsInside, probePartSize } from './check-objects.ts';
import { checkRegistryInside } from './check-registry.ts';
import { askTime, clockVerdict, probeUdp, resolveName, tlsCertificate } from './connect.ts';
import { type Finding, finding } from './finding.ts';

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

const maxListBytes = 1024 * 1024;
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
  const factory = site.factory === undefined ? undefined : URL.parse(site.factory);
  const targets = [...(registry === undefined ? [] : [registry.host]), ...hostsOf(objectStore)];
  const notes: Finding[] = [];
  const network = await openNetwork(check.network, {
    hosts: [...targets, ...(factory === null || factory === undefined ? [] : [factory.host])],
    identifyTo: targets,
    allowPrivate: true,
    onNote: (detail) => void notes.push({ subject: 'network', what: 'note', state: 'note', detail }),
    egressLog: { record: ({ status }) => void statuses.push(status ?? 0) },
  });
  try {
    const findings: Finding[] = [...(await checkNames(check)), ...checkDemands(check)];
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
    if (factory !== null && factory !== undefined)
      findings.push(await checkFactory(network, factory, signal));
    findings.push(...(await checkOmni(check)));
    for (const server of site.ntp ?? []) findings.push(await finding('time', server, () => askTime(server)));
    return { ok: findings.every(({ state }) => state !== 'failed'), findings: [...notes, ...findings] };
  } finally {
    await network.close();
  }
}

/** What others demand of the URLs: this client may be content with less. */
function checkDemands({ site, registry, network }: InsideCheck): readonly Finding[] {
  const reached =
    registry && registryAsSeen(site, { ...registry, plainHttp: network.plainHttp.includes(registry.host) });
  const unmet = unmetDemands(site, reached).map(
    ({ subject, consumer, severity, problem }): Finding => ({
      subject: 'site file',
      what: `${subject} for ${consumer}`,
      state: severity === 'warns' ? 'note' : 'failed',
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

/** Every name that the hand-off puts into configuration must resolve here. */
async function checkNames({ site, registry }: InsideCheck): Promise<readonly Finding[]> {
  const urls = [site.omni, site.machineApi, site.kubernetesProxy, site.factory, site.pxe, site.login];
  const hosts = [
    ...urls.map((url) => (url === undefined ? undefined : URL.parse(url)?.hostname)),
    ...(registry === undefined ? [] : [URL.parse(`https://${registry.host}`)?.hostname]),
    site.wireguard?.replace(/:[0-9]+$/, ''),
  ];
  const names = new Set(hosts.filter((host) => host !== undefined && !/^[0-9.]+$|^\[/.test(host)));
  return Promise.all([...names].map((host = '') => finding('DNS', host, () => resolveName(host))));
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

async function checkFactory(network: Network, factory: URL, signal?: AbortSignal): Promise<Finding> {
  return finding('factory', `GET /${versionsPath}`, async () => {
    const url = new URL(versionsPath, `${factory.href.replace(/\/+$/, '')}/`);
    const response = await network.gate.request({
      method: 'GET',
      url,
      signal,
    });
    if (response.status !== 200) {
      await response.cancel();
      throw new CodedError('UPSTREAM', `${url.href} answers ${response.status}`, { status: response.status });
    }
    const bytes = await response.bytes('the list of Talos versions', maxListBytes);
    if (saysPage(response) || looksLikePage(bytes))
      throw unexpectedAnswer(response, url.href, 'the list of Talos versions', { bytes });
    const versions = parseStrictJson(bytes, { what: url.href });
    if (!Array.isArray(versions) || versions.length === 0)
      throw new CodedError('NOT_FOUND', 'the factory offers no Talos version');
    return `${versions.length} Talos version(s)`;
  });
}

async function checkOmni({ site, ca, signal }: InsideCheck): Promise<readonly Finding[]> {
  const trusted = ca === undefined ? [] : [ca];
  const findings: Finding[] = [];
  const tls = async (what: string, url: string | undefined, otherwise: number): Promise<void> => {
    const target = url === undefined ? null : URL.parse(url);
    if (target === null) return;
    const port = target.port === '' ? otherwise : Number(target.port);
    findings.push(
      await finding('omni', `${what} ${port}/tcp`, () =>
        tlsCertificate(target.hostname, port, trusted, signal),
      ),
    );
  };
  await tls('API', site.omni, 443);
  const machineApi = site.machineApi ?? (site.omni === undefined ? undefined : withPort(site.omni, 8090));
  await tls('machine API', machineApi, 8090);
  const [, host, port = String(selfHostedWireguardPort)] =
    /^(.+?)(?::([0-9]{1,5}))?$/.exec(site.wireguard ?? '') ?? [];
  if (host !== undefined) {
    findings.push(await finding('omni', `WireGuard ${port}/udp`, () => probeUdp(host, Number(port))));
  }
  return findings;
}

function withPort(url: string, port: number): string {
  const target = new URL(url);
  target.port = String(port);
  return target.href;
}
