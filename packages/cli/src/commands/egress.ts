/** omni-airgap egress: rules, check, log */

import { join } from 'node:path';
import {
  type CheckedHost,
  checkEgress,
  type EgressCheck,
  type EgressSummary,
  egressRules,
  formatNftables,
  type PortRules,
  portRules,
  summarizeLog,
} from '@omni-airgap/fetcher';
import { checkInside, type InsideReport, readSite } from '@omni-airgap/loader';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import { siteUrl } from '@omni-airgap/talos';
import { Command, InvalidArgumentError, Option } from 'commander';
import { withClientCertificate, withCommon, withExample, withNetwork, withS3 } from '../flags.ts';
import { count, table } from '../format.ts';
import { noteExposed } from '../keys.ts';
import { networkSettings } from '../network.ts';
import { type CommonFlags, report, type Session } from '../session.ts';
import { readTargets, type TargetFlags } from '../targets.ts';

export function addEgress(session: Session): Command {
  return withExample(
    new Command('egress')
      .addCommand(addRules(session))
      .addCommand(addCheck(session))
      .addCommand(addLog(session)),
    'omni-airgap egress rules --config mirror.yaml',
  );
}

interface RulesFlags extends CommonFlags {
  readonly config: string;
  readonly format: 'plain' | 'nftables' | 'json';
  readonly for: 'host' | 'nodes' | 'saas';
  readonly wireguardPort?: number;
}

type Rules = { readonly hosts: Awaited<ReturnType<typeof egressRules>> } | PortRules;

function addRules(session: Session): Command {
  const command = new Command('rules')
    .description('print the firewall rules that this mirror.yaml needs, and no others')
    .option('--config <file>', 'what to carry', './mirror.yaml')
    .addOption(
      new Option('--format <format>', 'how to print them')
        .choices(['plain', 'nftables', 'json'])
        .default('plain'),
    )
    .addOption(
      new Option('--for <whom>', 'the connected host, Talos machines, or machines of Omni as a service')
        .choices(['host', 'nodes', 'saas'])
        .default('host'),
    )
    .addOption(
      new Option('--wireguard-port <port>', 'UDP port of Omni for machines (default: 51820)').argParser(
        (text) => {
          if (!/^[0-9]{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 65_535)
            throw new InvalidArgumentError('Must be a port.');
          return Number(text);
        },
      ),
    )
    .action(async (flags: RulesFlags) => {
      if (flags.for !== 'host' && flags.format === 'nftables') {
        throw new CodedError(
          'USAGE',
          `--format nftables is for the connected host; with --for ${flags.for} use plain or json`,
        );
      }
      const work = async (): Promise<Rules> =>
        flags.for === 'host'
          ? { hosts: await egressRules(flags.config) }
          : portRules(flags.for, flags.wireguardPort);
      const json: { readonly json?: true } = flags.format === 'json' ? { json: true } : {};
      await report(session, { ...flags, ...json }, 'egress', work, (rules) =>
        'ports' in rules
          ? describePorts(rules)
          : flags.format === 'nftables'
            ? formatNftables(rules.hosts)
            : table([
                ['HOST', 'PORT', 'WHAT FOR'],
                ...rules.hosts.map(({ pattern, port, why }) => [pattern, `${port}/tcp`, why]),
              ]),
      );
    });
  return withExample(
    withCommon(command),
    'omni-airgap egress rules --config mirror.yaml --format nftables > egress.nft',
    'omni-airgap egress rules --for nodes --wireguard-port 50180',
  );
}

function describePorts({ ports, optional, notes }: PortRules): string {
  const rows = ports.map(({ from, to, port, protocol, why }) => [from, to, `${port}/${protocol}`, why]);
  const outside = optional.map(({ pattern, port, protocol, why }) => [
    'node',
    pattern,
    `${port}/${protocol}`,
    `optional: ${why}`,
  ]);
  return [table([['FROM', 'TO', 'PORT', 'WHAT FOR'], ...rows, ...outside]), '', ...notes].join('\n');
}

interface CheckFlags extends InsideFlags {
  readonly config: string;
}

function addCheck(session: Session): Command {
  const command = new Command('check')
    .description('try every host that this mirror.yaml needs: name, TCP, TLS, token, one byte of content')
    .option('--config <file>', 'what to carry', './mirror.yaml')
    .action(async (flags: CheckFlags) => {
      if (flags.inside === true) return runInside(session, flags);
      const network = networkSettings(flags, session.env, true);
      const work = () => checkEgress({ config: flags.config, network, signal: session.signal });
      const result = await report(session, flags, 'egress', work, describeCheck);
      if (!result.ok) {
        const failed = result.hosts.filter((host) => host.state === 'failed').map((host) => host.pattern);
        throw new CodedError('NETWORK', `not everything can be reached: ${failed.join(', ')}`);
      }
    });
  return withExample(
    withNetwork(withCommon(withInside(command))),
    'omni-airgap egress check --config mirror.yaml',
    'omni-airgap egress check --inside --site site.yaml --registry registry.site:5000',
  );
}

function describeCheck({ hosts }: EgressCheck): string {
  const rows = hosts.map((host) => [
    host.pattern,
    host.state,
    host.connection?.via === 'proxy' ? 'via proxy' : (host.connection?.addresses[0] ?? ''),
    host.connection?.tcp ?? '',
    host.connection?.tls ?? '',
    host.connection?.issuer ?? '',
    host.token ?? '',
    host.status === undefined ? '' : String(host.status),
  ]);
  const problems = hosts.flatMap(describeProblem);
  return [
    table([['HOST', 'STATE', 'ADDRESS', 'TCP', 'TLS', 'ISSUER', 'TOKEN', 'HTTP'], ...rows]),
    ...(problems.length === 0 ? [] : ['', ...problems]),
  ].join('\n');
}

function describeProblem({ pattern, state, problem, missingRule }: CheckedHost): readonly string[] {
  if (state === 'unseen')
    return [`${pattern}: nothing led to a host of this pattern just now; the rule is needed all the same.`];
  if (problem === undefined) return [];
  const rule = missingRule === undefined ? '' : `; missing rule: ${missingRule}`;
  return [`${pattern}: ${problem}${rule}`];
}

interface LogFlags extends CommonFlags {
  readonly store: string;
  readonly file?: string;
}

function addLog(session: Session): Command {
  const command = new Command('log')
    .description('sum up what was contacted and what was refused, from the record that fetch keeps')
    .option('--store <dir>', 'the store', './store')
    .option('--file <file>', 'the record itself, instead of the one in the store')
    .action(async (flags: LogFlags) => {
      const path = flags.file ?? join(flags.store, 'egress.jsonl');
      await report(session, flags, 'egress', () => summarizeLog(path), describeLog);
    });
  return withExample(withCommon(command), 'omni-airgap egress log --store ./store');
}

function describeLog({ hosts, from, to, damaged }: EgressSummary): string {
  const rows = hosts.map((host) => [
    host.host,
    String(host.requests),
    formatBytes(host.bytes),
    String(host.failed),
    String(host.refused),
    host.viaProxy > 0 ? 'via proxy' : host.addresses.slice(0, 3).join(' '),
  ]);
  const reasons = hosts.flatMap((host) => host.reasons.map((reason) => `Refused: ${reason}`));
  return [
    table([['HOST', 'REQUESTS', 'BYTES', 'FAILED', 'REFUSED', 'ADDRESSES'], ...rows], [1, 2, 3, 4]),
    ...(from === undefined ? [] : [`From ${from} to ${to}.`]),
    ...reasons,
    ...(damaged > 0 ? [`${count(damaged, 'line')} could not be read.`] : []),
  ].join('\n');
}

export interface InsideFlags extends CommonFlags, TargetFlags {
  readonly inside?: true;
  readonly site?: string;
  readonly keepHost?: true;
}

/** The flags of the checks that are made at the site. */
export function withInside(command: Command): Command {
  command
    .option('--inside', 'at the site: registry, object store, factory, Omni, time, WireGuard, names')
    .option('--site <file>', 'with --inside: YAML with the URLs of this site, as for load')
    .option('--registry <host[/prefix]>', 'with --inside: the registry that load brings images to')
    .option('--object-store <url>', 'with --inside: s3://BUCKET[/PREFIX] or file:///DIR');
  withS3(command, 'with --inside: ')
    .option('--keep-host', 'with --inside: repositories have their host in the path')
    .option(
      '--proxy <url>',
      'with --inside: reach registry, object store and factory through this forward proxy',
    );
  return withClientCertificate(command, 'with --inside: ');
}

/** @throws INCOMPLETE when anything failed; USAGE when nothing was named */
export async function runInside(session: Session, flags: InsideFlags): Promise<void> {
  const file = flags.site === undefined ? { site: {} } : await readSite(flags.site);
  const { registry: ofSite } = file.site;
  // Naming an http URL is permission to use it.
  const plainHttp = [...flags.plainHttp];
  if (flags.registry === undefined && ofSite?.plainHttp === true) plainHttp.push(ofSite.host);
  for (const url of [file.site.factory, file.site.omni, siteUrl(file.site, 'login')].map((text) =>
    URL.parse(text ?? ''),
  ))
    if (url?.protocol === 'http:') plainHttp.push(url.host);
  const targets = await readTargets(session, { ...flags, plainHttp }, file.site);
  await noteExposed('--client-key', flags.clientKey, session, flags);
  const result = await report(
    session,
    flags,
    'egress',
    () =>
      checkInside({
        ...file,
        ...targets,
        registry: targets.registry ?? (ofSite && { host: ofSite.host, prefix: ofSite.prefix ?? '' }),
        keepHost: flags.keepHost === true,
        signal: session.signal,
      }),
    describeInside,
  );
  if (result.ok) return;
  const failed = result.findings.filter(({ state }) => state === 'failed');
  throw new CodedError(
    'INCOMPLETE',
    `not everything works: ${failed.map(({ subject, what }) => `${subject} (${what})`).join(', ')}`,
  );
}

function describeInside({ findings }: InsideReport): string {
  const rows = findings.map(({ subject, what, state, detail }) => [subject, what, state, detail]);
  return table([['WHERE', 'WHAT', 'STATE', 'DETAIL'], ...rows]);
}
