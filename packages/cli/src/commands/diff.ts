/** omni-airgap diff */
import { type DiffReport, diff } from '@omni-airgap/bundler';
import { formatBytes, printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { count, table } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

export function addDiff(session: Session): Command {
  const command = new Command('diff')
    .description('show what changed between two bundles, stores or receipts')
    .argument('<from>', 'folder of a bundle or store, a bundle.json or a receipt')
    .argument('<to>', 'the same, for the later state')
    .action(async (from: string, to: string, flags: CommonFlags) => {
      await report(session, flags, 'diff', () => diff(from, to, session.signal), describe);
    });
  return withExample(withCommon(command), 'omni-airgap diff receipt.json ./store');
}

function describe({ from, to, added, removed, moved, unchanged, attached, content }: DiffReport): string {
  const lines = [`From ${printable(from)}`, `to   ${printable(to)}`, ''];
  for (const name of added) lines.push(`+ ${printable(name)}`);
  for (const name of removed) lines.push(`- ${printable(name)}`);
  for (const one of moved) lines.push(`~ ${printable(one.name)}`, `    ${one.from}`, `    ${one.to}`);
  for (const one of attached)
    lines.push(`~ ${printable(one.name)}: signatures and attestations: ${attachedText(one)}`);
  if (added.length + removed.length + moved.length + attached.length === 0) lines.push('No name differs.');
  if (content !== undefined && content.length > 0) {
    const rows = content.map(({ kind, addedBytes, removedBytes }) => [
      kind,
      formatBytes(addedBytes),
      formatBytes(removedBytes),
    ]);
    lines.push('', table([['CONTENT', 'NEW', 'GONE'], ...rows], [1, 2]));
  }
  lines.push(
    '',
    `${count(added.length, 'name')} added, ${removed.length} removed, ${moved.length} with other content, ${unchanged} the same.`,
  );
  return lines.join('\n');
}

function attachedText({ added, removed, moved }: DiffReport['attached'][number]): string {
  const parts = [
    [added, 'added'],
    [removed, 'removed'],
    [moved, 'with other content'],
  ] as const;
  return parts.flatMap(([n, what]) => (n === 0 ? [] : [`${n} ${what}`])).join(', ');
}
