/** omni-airgap plan */
import { type Plan, plan } from '@omni-airgap/fetcher';
import { Command } from 'commander';
import { withCommon, withExample, withNetwork } from '../flags.ts';
import { count, formatBytes, table, wrap } from '../format.ts';
import { type CommonFlags, type NetworkFlags, networkSettings, report, type Session } from '../session.ts';

interface Flags extends CommonFlags, NetworkFlags {
  readonly config: string;
  readonly store: string;
}

export function addPlan(session: Session): Command {
  const command = new Command('plan')
    .description('show what a fetch would bring, and what it takes; changes nothing')
    .option('--config <file>', 'what to carry', './mirror.yaml')
    .option('--store <dir>', 'the store', './store')
    .action(async (flags: Flags) => {
      const network = networkSettings(flags, session.env, true);
      const { config, store } = flags;
      const work = () => plan({ config, store, network, signal: session.signal });
      await report(session, flags, 'plan', work, describePlan);
    });
  return withExample(
    withNetwork(withCommon(command)),
    'omni-airgap plan --config mirror.yaml --store ./store',
  );
}

function describePlan(result: Plan): string {
  const unknown = 'when built';
  const rows = result.items
    .filter((item) => item.problem === undefined)
    .map((item) => [
      item.name,
      item.kind,
      item.bytes === undefined ? (item.kind === 'schematic' ? '' : unknown) : formatBytes(item.bytes),
      item.missing === undefined ? '' : item.missing === 0 ? 'there' : formatBytes(item.missing),
    ]);
  const lines = [table([['NAME', 'KIND', 'SIZE', 'TO FETCH'], ...rows], [2, 3]), ''];
  for (const { name, problem } of result.items)
    if (problem !== undefined) lines.push(`Problem: ${name}: ${problem}`);
  for (const warning of result.warnings) lines.push(`Warning: ${warning}`);
  const perPlatform = Object.entries(result.platforms).sort(([, a], [, b]) => b - a);
  if (perPlatform.length > 0) {
    lines.push(
      `By platform: ${perPlatform.map(([name, bytes]) => `${name} ${formatBytes(bytes)}`).join(', ')}`,
    );
  }
  const more =
    result.unknown > 0
      ? `, and ${count(result.unknown, 'item')} known only when the factory has built it`
      : '';
  lines.push(
    `In all ${formatBytes(result.bytes)} (shared content once), ${formatBytes(result.bytesToFetch)} to fetch${more}.`,
    `Free where the store is: ${formatBytes(result.freeBytes)}.`,
    `Hosts needed (TCP 443 unless said):\n${wrap(result.hosts.map(({ pattern, port }) => (port === 443 ? pattern : `${pattern}:${port}`)))}`,
  );
  return lines.join('\n');
}
