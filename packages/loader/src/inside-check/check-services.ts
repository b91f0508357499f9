/**
 * Whether the services of a site answer as those who connect to them ask: names, certificates by the authority that the
 * hand-off gives out, the factory's versions, the log-in service's own name, Omni's database.
 */
import { CodedError, parseStrictJson, parseStrictObject } from '@omni-airgap/oci/base';
import { type GateResponse, looksLikePage, saysPage, unexpectedAnswer } from '@omni-airgap/oci/http';
import type { Network } from '@omni-airgap/oci/registry';
import {
  connections,
  type ReachedRegistry,
  type Site,
  type Subject,
  siteUrl,
  versionsPath,
} from '@omni-airgap/talos';
import { resolveName, tlsCertificate } from './connect.ts';
import { type Finding, finding } from './finding.ts';

const maxListBytes = 1024 * 1024;
const maxDiscoveryBytes = 256 * 1024;

/** Every name that the hand-off puts into configuration must resolve here. */
export async function checkNames(site: Site, registry: string | undefined): Promise<readonly Finding[]> {
  const subjects = ['omni', 'machineApi', 'kubernetesProxy', 'factory', 'pxe', 'login'] as const;
  const urls = [
    ...subjects.map((subject) => siteUrl(site, subject)),
    ...(registry === undefined ? [] : [`https://${registry}`]),
  ];
  const hosts = [
    ...urls.map((url) => (url === undefined ? undefined : URL.parse(url)?.hostname)),
    site.wireguard?.replace(/:[0-9]+$/, ''),
  ];
  const names = new Set(hosts.filter((host) => host !== undefined && !/^[0-9.]+$|^\[/.test(host)));
  return Promise.all([...names].map((host = '') => finding('DNS', host, () => resolveName(host))));
}

/** How findings name what has a certificate. */
const labels: Readonly<Record<Subject, readonly [subject: string, what: string]>> = {
  omni: ['omni', 'API'],
  machineApi: ['omni', 'machine API'],
  kubernetesProxy: ['omni', 'Kubernetes proxy'],
  factory: ['factory', 'certificate'],
  login: ['login', 'certificate'],
  registry: ['registry', 'certificate'],
  pxe: ['pxe', 'certificate'],
};

/**
 * Handshakes as Omni, machines and people make them: they trust what the hand-off gives them, not what this client was
 * told by flags.
 * @param ca PEM of the site's authority, or undefined
 * @param subjects left out: those that this host reaches through a proxy
 */
export function checkCertificates(
  site: Site,
  registry: ReachedRegistry | undefined,
  {
    ca,
    without,
    signal,
  }: {
    readonly ca: string | undefined;
    readonly without: readonly Subject[];
    readonly signal: AbortSignal | undefined;
  },
): Promise<readonly Finding[]> {
  const trusted = ca === undefined ? [] : [ca];
  const asked = new Map<string, { readonly subject: Subject; readonly by: string[] }>();
  for (const { subject, consumer, url, authority } of connections(site, registry)) {
    if (authority === undefined || without.includes(subject)) continue;
    const target = new URL(url);
    const at = `${target.hostname}:${target.port === '' ? 443 : target.port}`;
    const one = asked.get(at) ?? { subject, by: [] };
    if (!one.by.includes(consumer)) one.by.push(consumer);
    asked.set(at, one);
  }
  return Promise.all(
    [...asked].map(([at, { subject, by }]) => {
      const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(at) ?? [];
      const [where, what] = labels[subject];
      return finding(where, `${what} ${port}/tcp`, async () => {
        const certificate = await tlsCertificate(host, Number(port), trusted, signal);
        return `${certificate}; for ${by.join(', ')}`;
      });
    }),
  );
}

export interface FactoryAnswer {
  readonly finding: Finding;
  /** An Image Factory builds, `serve` has what was carried; a proxy in front hides which of them it is. */
  readonly kind: 'builds' | 'serves' | 'unknown';
  /** Of Talos, as it offers them. */
  readonly versions: readonly string[];
}

/** The versions that a factory offers, which Omni asks for. */
export async function checkFactory(
  network: Network,
  factory: URL,
  signal?: AbortSignal,
): Promise<FactoryAnswer> {
  let kind: FactoryAnswer['kind'] = 'unknown';
  let offered: readonly string[] = [];
  const versions = await finding('factory', `GET /${versionsPath}`, async () => {
    const url = new URL(versionsPath, `${factory.href.replace(/\/+$/, '')}/`);
    const response = await successful(network, url, signal);
    const server = response.headers['server'] ?? '';
    if (server.startsWith('Image Factory')) kind = server.includes('omni-airgap') ? 'serves' : 'builds';
    const bytes = await response.bytes('the list of Talos versions', maxListBytes);
    if (saysPage(response) || looksLikePage(bytes))
      throw unexpectedAnswer(response, url.href, 'the list of Talos versions', { bytes });
    const list = parseStrictJson(bytes, { what: url.href });
    if (!Array.isArray(list) || list.length === 0)
      throw new CodedError('NOT_FOUND', 'the factory offers no Talos version');
    offered = list.map(String);
    return `${list.length} Talos version(s)`;
  });
  return { finding: versions, kind, versions: offered };
}

/**
 * Omni does not start when its log-in service does not answer, or calls itself by another name.
 * Source: OpenID Connect Discovery 1.0, section 4.3; coreos/go-oidc, NewProvider.
 */
export function checkLogIn(network: Network, issuer: string, signal?: AbortSignal): Promise<Finding> {
  return finding('login', 'issuer', async () => {
    const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    const response = await successful(network, url, signal);
    const bytes = await response.bytes('the discovery document', maxDiscoveryBytes);
    if (saysPage(response) || looksLikePage(bytes))
      throw unexpectedAnswer(response, url.href, 'an OIDC discovery document', { bytes });
    const { issuer: itself } = parseStrictObject(bytes, { what: url.href });
    if (itself !== issuer)
      throw new CodedError(
        'UPSTREAM',
        `it calls itself ${String(itself)}, the site file calls it ${issuer}: Omni compares the two to the letter and would not start`,
      );
    return issuer;
  });
}

async function successful(network: Network, url: URL, signal?: AbortSignal): Promise<GateResponse> {
  const response = await network.gate.request({ method: 'GET', url, signal });
  if (response.status === 200) return response;
  await response.cancel();
  throw new CodedError('UPSTREAM', `${url.href} answers ${response.status}`, { status: response.status });
}

/**
 * Whether Omni's own database answers: its image holds no program that could ask from inside the container.
 * Source: siderolabs/omni internal/backend/health/health.go.
 */
export function checkOmni(network: Network, omni: URL, signal?: AbortSignal): Promise<Finding> {
  return finding('omni', 'GET /healthz', async () => {
    const response = await successful(network, new URL('/healthz', omni), signal);
    await response.cancel();
    return 'its database answers';
  });
}
