/** What only a site knows, from flags or from questions on a terminal: host names first. */
import { isIP } from 'node:net';
import { CodedError, messageOf, printable } from '@omni-airgap/oci/base';
import type { SiteAnswers } from '@omni-airgap/talos';

/**
 * Asks one question on a terminal.
 * @param question without a colon at its end
 * @returns the answer, without spaces around it; empty when there is none
 */
export type Ask = (question: string, options?: { readonly isSecret?: boolean }) => Promise<string>;

/** As given by flags: `omni.site`, `factory.site:8080`, `https://factory.site`. */
export interface GivenAnswers {
  readonly omni?: string | undefined;
  readonly factory?: string | undefined;
  readonly registry?: string | undefined;
  readonly login?: string | undefined;
  /** The site's own provider, in place of `login`. */
  readonly oidc?: NonNullable<SiteAnswers['oidc']> | undefined;
  readonly objectStore?: string | undefined;
  readonly pxe?: string | undefined;
  readonly wireguard?: string | undefined;
  readonly ntp?: readonly string[] | undefined;
  readonly users?: readonly string[] | undefined;
  readonly caFile?: string | undefined;
}

type Key = 'omni' | 'factory' | 'registry' | 'login' | 'wireguard' | 'pxe' | 'ntp';

interface Question {
  readonly key: Key;
  readonly question: string;
  /** What an empty answer means; undefined for nothing. */
  readonly otherwise: (omni: string) => string | undefined;
}

const ports = { factory: 8080, registry: 5000, login: 5556, omni: 443, objectStore: 443 } as const;
/** What a self-hosted Omni binds. */
const wireguardPort = 50180;

const questions: readonly Question[] = [
  {
    key: 'omni',
    question: 'Host name of Omni, as people and machines reach it, such as omni.site.example',
    otherwise: () => undefined,
  },
  {
    key: 'factory',
    question: 'Image Factory',
    otherwise: (omni) => neighbor(omni, 'factory', ports.factory),
  },
  { key: 'registry', question: 'Registry', otherwise: (omni) => neighbor(omni, 'registry', ports.registry) },
  {
    key: 'login',
    question: 'Log-in service (OIDC)',
    otherwise: (omni) => neighbor(omni, 'login', ports.login),
  },
  {
    key: 'wireguard',
    question: 'IP address of Omni, for the WireGuard tunnels of machines; empty to fill it in later',
    otherwise: (omni) => (isIP(bare(omni)) === 0 ? undefined : omni),
  },
  {
    key: 'ntp',
    question: 'Time servers, separated by spaces; empty to fill them in later',
    otherwise: () => undefined,
  },
  {
    key: 'pxe',
    question: 'URL for PXE clients, such as http://pxe.site.example; empty for none',
    otherwise: () => undefined,
  },
];

/**
 * @param ask undefined where there is no terminal: then only --omni is required
 * @throws USAGE for an answer that cannot be used, before the next question is asked
 */
export async function collectAnswers(given: GivenAnswers, ask: Ask | undefined): Promise<SiteAnswers> {
  const flags = checkedAnswers(given);
  let omniHost = given.omni === undefined ? undefined : endpoint('omni', given.omni);
  const answers: Partial<Record<keyof SiteAnswers, SiteAnswers[keyof SiteAnswers]>> = { ...flags };
  for (const { key, question, otherwise } of questions) {
    if (flags[key] !== undefined || (key === 'login' && flags.oidc !== undefined)) continue;
    const fallback = omniHost === undefined ? undefined : otherwise(omniHost);
    const text = ask === undefined ? fallback : await askUntilValid(ask, key, question, fallback);
    if (key === 'omni') {
      if (text === undefined)
        throw new CodedError(
          'USAGE',
          'site init needs --omni HOST, the name that people and machines reach Omni by',
        );
      omniHost = endpoint('omni', text);
    }
    if (text !== undefined)
      Object.assign(answers, checkedAnswers({ [key]: key === 'ntp' ? text.split(/[\s,]+/) : text }));
  }
  return withOmniUrls(answers as SiteAnswers);
}

async function askUntilValid(
  ask: Ask,
  key: Key,
  question: string,
  fallback: string | undefined,
): Promise<string | undefined> {
  let problem = '';
  for (;;) {
    const shown = fallback === undefined ? question : `${question} [${fallback}]`;
    const answer = await ask(`${problem}${shown}`);
    const text = answer === '' ? fallback : answer;
    try {
      if (text === undefined && key === 'omni') throw new CodedError('USAGE', 'a host name is needed');
      if (text !== undefined) checkedAnswers({ [key]: key === 'ntp' ? text.split(/[\s,]+/) : text });
      return text;
    } catch (error) {
      problem = `${messageOf(error)}\n`;
    }
  }
}

/** The keys of the site file that these answers mean. @throws USAGE */
export function checkedAnswers(given: GivenAnswers): Partial<SiteAnswers> {
  const { omni, factory, registry, login, oidc, objectStore, pxe, wireguard, ntp, users, caFile } = given;
  if (login !== undefined && oidc !== undefined)
    throw new CodedError('USAGE', '--login is for dex of the hand-off; leave it out with --oidc-issuer');
  return {
    ...(omni === undefined ? {} : { omni: `https://${endpoint('omni', omni)}` }),
    ...(factory === undefined ? {} : { factory: `https://${endpoint('factory', factory)}` }),
    ...(registry === undefined ? {} : { registry: `https://${registryName(registry)}` }),
    ...(login === undefined ? {} : { login: `https://${endpoint('login', login)}` }),
    ...(oidc === undefined ? {} : { oidc: { ...oidc, issuer: issuerUrl(oidc.issuer) } }),
    ...(objectStore === undefined ? {} : { objectStore: `https://${endpoint('objectStore', objectStore)}` }),
    ...(pxe === undefined ? {} : { pxe: pxeUrl(pxe) }),
    ...(wireguard === undefined ? {} : { wireguard: tunnel(wireguard) }),
    ...(ntp === undefined || ntp.length === 0 ? {} : { ntp: ntp.map((one) => server(one)) }),
    ...(users === undefined || users.length === 0
      ? {}
      : { users: users.map((one) => emailAddress('--user', one)) }),
    ...(caFile === undefined ? {} : { caFile }),
  };
}

/** Omni's other services are ports of its host, unless the site file says otherwise. */
function withOmniUrls(answers: SiteAnswers): SiteAnswers {
  const { hostname } = new URL(answers.omni);
  return {
    ...answers,
    machineApi: `https://${hostname}:8090`,
    kubernetesProxy: `https://${hostname}:8100`,
  };
}

const flagOf = {
  objectStore: '--object-store',
  omni: '--omni',
  factory: '--factory',
  login: '--login',
  registry: '--registry',
};

/**
 * `HOST[:PORT]` of a service, with its usual port where none is given.
 * @throws USAGE for http and for what is no host
 */
function endpoint(service: keyof typeof ports, text: string): string {
  const isUrl = text.startsWith('https://');
  const url = text.includes('://') && !isUrl ? null : URL.parse(isUrl ? text : `https://${text}`);
  const isPlain =
    url !== null &&
    ['', '/'].includes(url.pathname) &&
    url.username === '' &&
    url.search === '' &&
    url.hash === '';
  if (!isPlain || !isHost(url.hostname))
    throw new CodedError(
      'USAGE',
      `${flagOf[service]} ${printable(text)}: write HOST[:PORT]; it is reached by https`,
    );
  const hasPort = isUrl || /:[0-9]+\/?$/.test(text);
  const port = hasPort ? url.port : String(ports[service]);
  return port === '' || port === '443' ? url.hostname : `${url.hostname}:${port}`;
}

function registryName(text: string): string {
  const slash = text.replace(/^https:\/\//, '').indexOf('/');
  const [, scheme = '', rest = ''] = /^(https:\/\/)?(.*)$/s.exec(text) ?? [];
  const [host, prefix] =
    slash < 0 ? [rest, ''] : [rest.slice(0, slash), rest.slice(slash).replace(/\/+$/, '')];
  if (!/^(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/.test(prefix))
    throw new CodedError('USAGE', `--registry ${printable(text)}: write HOST[:PORT][/PREFIX]`);
  return `${endpoint('registry', `${scheme}${host}`)}${prefix}`;
}

function pxeUrl(text: string): string {
  const url = URL.parse(text);
  if (
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.search === '' &&
    isHost(url.hostname)
  )
    return text.replace(/\/+$/, '');
  throw new CodedError('USAGE', `--pxe ${printable(text)}: write a URL such as http://pxe.site`);
}

/** Kept to the letter: Omni compares it with what the provider calls itself. */
function issuerUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === 'https:' && url.username === '' && url.search === '' && isHost(url.hostname))
    return text;
  throw new CodedError(
    'USAGE',
    `--oidc-issuer ${printable(text)}: write an https URL such as https://sso.site`,
  );
}

/** An address is best: machines look a name up before they have joined. */
function tunnel(text: string): string {
  if (isIP(text) === 6) return `[${text}]:${wireguardPort}`;
  const [, host = '', port = String(wireguardPort)] =
    /^(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  if (isHost(host) && Number(port) > 0 && Number(port) < 65_536) return `${host}:${port}`;
  throw new CodedError(
    'USAGE',
    `--wireguard ${printable(text)}: write the address of Omni, such as 10.0.0.5:${wireguardPort}`,
  );
}

function server(text: string): string {
  if (isIP(text) !== 0 || isHost(text)) return text;
  throw new CodedError('USAGE', `--ntp ${printable(text)}: write a host name or an IP address`);
}

/** @throws USAGE */
export function emailAddress(flag: string, text: string): string {
  if (/^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}$/.test(text)) return text;
  throw new CodedError('USAGE', `${flag} ${printable(text)}: write an e-mail address`);
}

function isHost(text: string): boolean {
  return (
    /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/.test(text) ||
    isIP(bare(text)) !== 0
  );
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** `factory.site` beside `omni.site`; another port of the same host where Omni has no domain. */
function neighbor(omni: string, name: string, port: number): string {
  const { hostname } = new URL(`https://${omni}`);
  const domain = isIP(bare(hostname)) === 0 ? /^[^.]+\.(.+)$/.exec(hostname)?.[1] : undefined;
  return `${domain === undefined ? hostname : `${name}.${domain}`}:${port}`;
}
