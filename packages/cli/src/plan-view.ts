/** A plan as text for people; plan and fetch --dry-run print it. */

import type { Plan } from '@omni-airgap/fetcher';
import { formatBytes } from '@omni-airgap/oci/base';
import { count, table, wrap } from './format.ts';

export function describePlan(result: Plan): string {
  const rows = result.items
    // There are several for each image, of some kilobytes: their sum stands below.
    .filter((item) => item.problem === undefined && item.kind !== 'signature')
    .map((item) => [
      item.name,
      item.kind,
      item.bytes === undefined ? unknownSize(item.kind) : formatBytes(item.bytes),
      item.missing === undefined ? '' : item.missing === 0 ? 'there' : formatBytes(item.missing),
    ]);
  const lines = [table([['NAME', 'KIND', 'SIZE', 'TO FETCH'], ...rows], [2, 3]), ''];
  for (const { name, problem } of result.items)
    if (problem !== undefined) lines.push(`Problem: ${name}: ${problem}`);
  for (const { name, missingPlatforms } of result.items)
    if (missingPlatforms !== undefined)
      lines.push(
        `Warning: ${name} has no ${missingPlatforms.join(', ')} upstream; its other platforms are carried`,
      );
  for (const warning of result.warnings) lines.push(`Warning: ${warning}`);
  const kinds = Object.entries(result.kinds).filter(([, total]) => total.items > 0);
  const ofKind = ([kind, { items, bytes, unknown }]: (typeof kinds)[number]): string => {
    const size = unknown === items ? 'unknown until built' : formatBytes(bytes);
    return `${count(items, kind === 'media' ? 'media file' : kind)} ${size}`;
  };
  lines.push(`By kind: ${kinds.map(ofKind).join(', ')}`);
  const perPlatform = Object.entries(result.platforms).sort(([, a], [, b]) => b - a);
  if (perPlatform.length > 0) {
    lines.push(
      `By platform: ${perPlatform.map(([name, bytes]) => `${name} ${formatBytes(bytes)}`).join(', ')}`,
    );
  }
  const all = result.unknown > 0 ? 'In all, as far as known' : 'In all';
  lines.push(
    `${all}, ${formatBytes(result.bytes)} (shared content once), ${formatBytes(result.bytesToFetch)} to fetch.`,
    ...(result.unknown > 0
      ? [
          `${count(result.unknown, 'size')} ${result.unknown === 1 ? 'is' : 'are'} unknown until the factory has built the files; --build builds them now.`,
        ]
      : []),
    `Free where the store is: ${formatBytes(result.freeBytes)}${result.freeBytes < result.bytesToFetch ? ', which is NOT enough' : ''}.`,
    'Hosts to allow (TCP 443 unless noted):',
    wrap(result.hosts.map(({ pattern, port }) => (port === 443 ? pattern : `${pattern}:${port}`))),
  );
  return lines.join('\n');
}

function unknownSize(kind: string): string {
  return kind === 'image' || kind === 'media' ? 'when built' : '';
}
