/** omni-airgap diff */
import { type DiffReport, diff } from '@omni-airgap/bundler';
import { formatBytes, printable } from '@omni-airgap/oci/base';
import { Command, Option } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { count, table } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly format: string;
}

export function addDiff(session: Session): Command {
  const command = new Command('diff')
    .argument('<from>', 'folder of a bundle or store, a bundle.json or a receipt')
    .argument('<to>', 'the same, for the later state')
    .addOption(
      new Option('--format <format>', 'how to print it: text, or markdown for a change request')
        .choices(['text', 'markdown'])
        .default('text'),
    )
    .action(async (from: string, to: string, { format, ...flags }: Flags) => {
      const view = format === 'markdown' ? markdown : describe;
      await report(session, flags, 'diff', () => diff(from, to, session.signal), view);
    });
  return withExample(
    withCommon(command),
    'omni-airgap diff receipt.json ./store',
    'omni-airgap diff --format markdown receipt.json /mnt/usb > change.md',
  );
}

function describe(report: DiffReport): string {
  const { from, to, added, removed, moved, withdrawn, unchanged, attached, content } = report;
  const lines = [`From ${printable(from)}`, `to   ${printable(to)}`, ''];
  for (const name of added) lines.push(`+ ${printable(name)}`);
  for (const name of removed) lines.push(`- ${printable(name)}`);
  for (const one of moved) lines.push(`~ ${printable(one.name)}`, `    ${one.from}`, `    ${one.to}`);
  for (const one of attached)
    lines.push(`~ ${printable(one.name)}: signatures and attestations: ${attachedText(one)}`);
  for (const name of withdrawn) lines.push(`withdrawn: ${printable(name)}`);
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

/** Sections with tables, as GitHub, GitLab, Gitea and Jira's converters read them. Source: GitHub Flavored Markdown 0.29. */
function markdown(report: DiffReport): string {
  const { from, to, added, removed, moved, withdrawn, unchanged, attached, content } = report;
  const names = (title: string, list: readonly string[]): readonly string[] =>
    section(
      title,
      ['Name'],
      list.map((name) => [codeSpan(name)]),
    );
  const lines = [
    '## Changes',
    '',
    `From ${codeSpan(from)}  `,
    `to ${codeSpan(to)}`,
    '',
    `${count(added.length, 'name')} added, ${removed.length} removed, ${moved.length} with other content, ${unchanged} the same.`,
    ...names('Added', added),
    ...names('Removed', removed),
    ...section(
      'Same name, other content',
      ['Name', 'From', 'To'],
      moved.map((one) => [
        codeSpan(one.name),
        codeSpan(shortDigest(one.from)),
        codeSpan(shortDigest(one.to)),
      ]),
    ),
    ...names('Withdrawn', withdrawn),
    ...section(
      'Signatures and attestations',
      ['Of', 'Change'],
      attached.map((one) => [codeSpan(one.name), attachedText(one)]),
    ),
    ...section(
      'Content',
      ['Kind', 'New', 'Gone'],
      (content ?? []).map(({ kind, addedBytes, removedBytes }) => [
        codeSpan(kind),
        formatBytes(addedBytes),
        formatBytes(removedBytes),
      ]),
    ),
  ];
  return lines.join('\n');
}

/** Empty without rows. */
function section(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    '',
    `### ${title} (${rows.length})`,
    '',
    line(head),
    line(head.map(() => '---')),
    ...rows.map(line),
  ];
}

/** 12 hex digits tell two digests apart and leave room for the names; --json has all. */
function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

/** Text as code, in which nothing is markup, a link or a mention. A pipe would end the cell of a table. */
function codeSpan(text: string): string {
  const shown = printable(text, 600).replaceAll('|', '\\|');
  const longest = Math.max(0, ...(shown.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(longest + 1);
  const space = longest > 0 ? ' ' : '';
  return `${fence}${space}${shown}${space}${fence}`;
}
