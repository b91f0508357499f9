/**
 * What went wrong with a request, and what to do about it: a table of causes and of those who were talked to. A hint
 * belongs to its cause and to how the other side was named, never to a family of error codes.
 */

/** Who was talked to: it decides which flag or file names it. */
export type Peer = 'registry' | 'factory' | 'object store' | 'proxy' | 'token service' | 'site';

export type FailureCause =
  | 'name unknown'
  | 'no name server'
  | 'refused'
  | 'unreachable'
  | 'no connection'
  | 'cut'
  | 'no answer'
  | 'certificate expired'
  | 'certificate not yet valid'
  | 'certificate of another name'
  | 'certificate of an unknown authority'
  | 'client certificate'
  | 'no TLS'
  | 'only TLS'
  | 'only HTTP/2'
  | 'TLS'
  | 'proxy log-in'
  | 'proxy refusal'
  | 'rate limit'
  | 'log-in missing'
  | 'log-in refused'
  | 'right missing'
  | 'log-in not asked for'
  | 'other';

/** What a certificate says of itself. */
export interface PresentedCertificate {
  /** As OpenSSL prints dates: `Nov 29 22:00:00 2026 GMT`. */
  readonly validFrom: string;
  readonly validTo: string;
  /** Names and addresses that it is for; empty when not known. */
  readonly names: string;
  /** Organization or name of who issued it; empty when not known. */
  readonly issuer: string;
}

export interface FailureFacts {
  /** Host with port, as flags take it. */
  readonly host: string;
  /** Where a proxy was named: `HTTPS_PROXY`, `--proxy`. */
  readonly setting?: string;
  /** ISO 8601. */
  readonly now?: string;
  /** Whether the operator named authorities (--ca-cert). */
  readonly hasAuthority?: boolean;
  readonly certificate?: PresentedCertificate | undefined;
  /** Of a proxy's answer. */
  readonly status?: number | undefined;
  /** Whether the proxy was given a log-in. */
  readonly hasLogIn?: boolean | undefined;
  /** Whose credentials were sent, such as `user "robot"`. */
  readonly who?: string | undefined;
  /** Where credentials were found or looked for; empty when that is not known. */
  readonly where?: string | undefined;
  /** Whether one repository was asked for, whose name may be misspelt. */
  readonly isOfRepository?: boolean | undefined;
}

/** The advice on a failure; empty where its words are enough. */
type Say = (facts: FailureFacts) => string;

interface Row {
  /** Of who is not named in the row. */
  readonly any: Say;
  readonly by?: Readonly<Partial<Record<Peer, Say>>>;
}

const nothing: Say = () => '';
const clock = ({ now }: FailureFacts): string => `this host's clock says ${now}`;
const expired = ({ certificate }: FailureFacts): string =>
  certificate === undefined ? 'it has expired' : `it expired on ${certificate.validTo}`;
const issued = ({ certificate }: FailureFacts): string =>
  certificate === undefined || certificate.issuer === '' ? '' : `it was issued by ${certificate.issuer}; `;
const names = ({ certificate }: FailureFacts): string =>
  certificate === undefined || certificate.names === ''
    ? 'it is for another name'
    : `it is for ${certificate.names}`;
const authority = (facts: FailureFacts): string =>
  facts.hasAuthority === true
    ? `${issued(facts)}none of the authorities of --ca-cert issued it: name the right one`
    : `${issued(facts)}if that is an authority of the site, name it with --ca-cert FILE`;
const logIn = (host: string): string => `docker login ${host}, or --registry-config FILE`;
const inspected: Say = (facts) =>
  `${authority(facts)}; a firewall that inspects TLS has an authority of its own`;

/** One row for each cause. */
const table: Readonly<Record<FailureCause, Row>> = {
  'name unknown': {
    any: () => "check its spelling, and this host's name servers",
    by: {
      'object store': () => "check --s3-endpoint, and this host's name servers",
      proxy: ({ setting }) => `check ${setting}, and this host's name servers`,
    },
  },
  'no name server': {
    any: () => "this host's name servers do not answer; a firewall may block port 53",
  },
  refused: {
    any: nothing,
    by: {
      registry: () =>
        'check that it is running, and its port (443 for HTTPS and 80 for HTTP unless specified; registries often listen on 5000)',
      'object store': () => 'check that it is running, and the port in --s3-endpoint',
      factory: () => 'a firewall may refuse it; omni-airgap egress rules prints what must be allowed',
      'token service': () => 'the registry names it for log-ins: check that it is running',
      proxy: ({ setting }) => `check that it is running, and its port in ${setting}`,
    },
  },
  unreachable: {
    any: () => "check this host's routes and firewalls",
  },
  'no connection': {
    any: () => 'a firewall may drop it',
    by: {
      factory: () => 'a firewall may drop it; omni-airgap egress rules prints what must be allowed',
      proxy: ({ setting }) => `check ${setting}, and that a firewall lets it through`,
    },
  },
  cut: { any: nothing },
  'no answer': { any: nothing },
  'certificate expired': {
    any: (facts) => `${expired(facts)}: renew it, or correct the clock (${clock(facts)})`,
    by: {
      factory: (facts) => `${expired(facts)}; ${clock(facts)}: correct it if it is wrong`,
      'token service': (facts) =>
        `${expired(facts)}: renew it at the log-in service of the registry, or correct the clock (${clock(facts)})`,
    },
  },
  'certificate not yet valid': {
    any: (facts) =>
      `it is ${facts.certificate === undefined ? 'not valid yet' : `valid from ${facts.certificate.validFrom}`}; ${clock(facts)}: correct it if it is wrong`,
  },
  'certificate of another name': {
    any: (facts) => `${names(facts)}; use a name that it is for`,
    by: {
      registry: (facts) =>
        `${names(facts)}; name the registry so, or give it a certificate for ${facts.host}`,
      'object store': (facts) => `${names(facts)}; use one of these in --s3-endpoint`,
      factory: (facts) => `${names(facts)}; something else answers in place of ${facts.host}`,
      'token service': (facts) => `${names(facts)}; the registry must name its log-in service so`,
      proxy: (facts) => `${names(facts)}; use one of these in ${facts.setting}`,
      site: (facts) => `${names(facts)}; use one of these in the site file`,
    },
  },
  'certificate of an unknown authority': {
    any: authority,
    by: { factory: inspected },
  },
  'client certificate': {
    any: () =>
      'it asks for a client certificate, or refuses the one that it was shown; specify --client-cert FILE and --client-key FILE',
    by: {
      proxy: () => 'the proxy asks for a client certificate, which is not supported',
      factory: () =>
        'it asks for a client certificate, which the Image Factory does not do: something else answers',
    },
  },
  'no TLS': {
    any: ({ host }) => `it does not speak TLS; if it speaks plain HTTP, add --plain-http ${host}`,
    by: {
      'object store': () => 'it does not speak TLS; if it speaks plain HTTP, write http:// in --s3-endpoint',
      factory: ({ host }) => `it does not speak TLS, so it is not ${host}: check the proxy and the firewall`,
      proxy: ({ setting }) => `the proxy does not speak TLS; write http:// in ${setting}`,
      site: () => 'it does not speak TLS; if it speaks plain HTTP, write http:// in the site file',
    },
  },
  'only TLS': {
    any: ({ host }) => `if it speaks TLS, leave out --plain-http ${host}`,
    by: {
      'object store': () => 'if it speaks TLS, write https:// in --s3-endpoint',
      proxy: ({ setting }) => `if the proxy speaks TLS, write https:// in ${setting}`,
      site: () => 'if it speaks TLS, write https:// in the site file',
    },
  },
  'only HTTP/2': {
    any: () => 'the server speaks HTTP/2 only; let it offer HTTP/1.1 as well',
    by: { proxy: () => 'the proxy speaks HTTP/2 only; let it offer HTTP/1.1 as well' },
  },
  TLS: { any: nothing },
  'proxy log-in': {
    any: ({ setting, hasLogIn }) =>
      hasLogIn === true
        ? `it refuses the user name and password in ${setting}`
        : `it asks for a log-in; write http://USER:PASSWORD@HOST:PORT in ${setting}`,
  },
  'proxy refusal': {
    any: ({ status = 0, host }) =>
      status >= 500 ? `it cannot reach ${host}` : `allow ${host} in its configuration`,
  },
  'rate limit': {
    any: () => 'it limits the rate of requests: lower --concurrency, or try again later',
    by: {
      registry: ({ host }) =>
        `it limits the rate of requests: lower --concurrency, log in for a higher limit (docker login ${host}, or --registry-config FILE), or raise the limit`,
    },
  },
  'log-in missing': {
    any: ({ host, where = '', isOfRepository = false }) =>
      `no credentials for ${host}${where === '' ? '' : ` in ${where}`}: ${isOfRepository ? 'check the name, or ' : ''}log in (${logIn(host)})`,
  },
  'log-in refused': {
    any: ({ host, who, where }) =>
      `the credentials of ${who} (${where}) were refused, also after a second look-up: log in again (${logIn(host)})`,
  },
  'right missing': {
    any: ({ host, who, where }) =>
      `${who} (${where}) does not have this right: grant it there, or log in as someone who has it (${logIn(host)})`,
  },
  'log-in not asked for': {
    any: ({ host }) =>
      `${host} asked for no log-in, so no credentials were sent; a proxy or web filter may be what refuses`,
  },
  other: { any: nothing },
};

/** What to do about a failure; empty where its words are enough. */
export function adviceFor(cause: FailureCause, peer: Peer, facts: FailureFacts): string {
  const { any, by } = table[cause];
  return (by?.[peer] ?? any)(facts);
}
