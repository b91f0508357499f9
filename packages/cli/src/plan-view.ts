/** A plan as plan and fetch --dry-run print it, and how they end: as the fetch would. */

import { type Plan, plan, planFailure } from '@omni-airgap/fetcher';
import { formatBytes, printable } from '@omni-airgap/oci/base';
import { count, table, wrap } from './format.ts';
import { describeInside } from './inside.ts';
import { type CommonFlags, report, type Session } from './session.ts';
import { rangeLines, upgradeLines } from './versions-view.ts';

/** Prints the plan. @throws as plan; the error of a fetch of the same when items have problems */
export async function reportPlan(
  session: Session,
  flags: CommonFlags,
  verb: 'plan' | 'fetch',
  {
    strict,
    ...options
  }: Omit<Parameters<typeof plan>[0], 'progress' | 'signal'> & { readonly strict: boolean },
): Promise<void> {
  const { signal } = session;
  const result = await report(
    session,
    flags,
    verb,
    (progress) => plan({ ...options, progress, signal }),
    describePlan,
  );
  const failure = planFailure(result, strict);
  if (failure !== undefined) throw failure;
}

function describePlan(result: Plan): string {
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
  lines.push(...rangeLines(result.ranges));
  if (result.upgrade !== undefined) lines.push(...upgradeLines(result.upgrade));
  for (const { name, missingPlatforms } of result.items)
    if (missingPlatforms !== undefined)
      lines.push(
        `Warning: ${name} has no ${missingPlatforms.join(', ')} upstream; its other platforms are carried`,
      );
  const kinds = Object.entries(result.kinds).filter(([, total]) => total.items > 0);
  const ofKind = ([kind, { items, bytes, unknown, failed }]: (typeof kinds)[number]): string => {
    const isKnown = unknown + failed < items;
    const size = isKnown ? formatBytes(bytes) : unknown > 0 ? 'unknown until built' : 'of unknown size';
    const without = failed > 0 && failed < items ? ` (without ${failed} that failed)` : '';
    return `${count(items, kind === 'media' ? 'media file' : kind)} ${size}${without}`;
  };
  lines.push(`By kind: ${kinds.map(ofKind).join(', ')}`);
  const perPlatform = Object.entries(result.platforms).sort(([, a], [, b]) => b - a);
  if (perPlatform.length > 0) {
    lines.push(
      `By platform: ${perPlatform.map(([name, bytes]) => `${name} ${formatBytes(bytes)}`).join(', ')}`,
    );
  }
  const { problems } = result;
  const all = result.unknown > 0 || problems.length > 0 ? 'In all, as far as known' : 'In all';
  lines.push(
    `${all}, ${formatBytes(result.bytes)} (shared content once), ${formatBytes(result.bytesToFetch)} to fetch.`,
    ...(result.unknown > 0
      ? [
          `${count(result.unknown, 'size')} ${result.unknown === 1 ? 'is' : 'are'} unknown until the factory has built the files; --build builds them now.`,
        ]
      : []),
    ...(problems.length > 0
      ? [`The sums leave out ${count(problems.length, 'item')} with a problem, listed below.`]
      : []),
    `Free where the store is: ${formatBytes(result.freeBytes)}${result.freeBytes < result.bytesToFetch ? ', which is NOT enough' : ''}.`,
    'Hosts to allow (TCP 443 unless noted):',
    wrap(result.hosts.map(({ pattern, port }) => (port === 443 ? pattern : `${pattern}:${port}`))),
  );
  const judged = new Set(result.inside.map(({ message }) => message));
  for (const warning of result.warnings) if (!judged.has(warning)) lines.push(`Warning: ${warning}`);
  lines.push(...describeInside(result.inside));
  if (result.tools.length > 0) lines.push('Needed inside, and not carried:');
  for (const { name, on, why } of result.tools) lines.push(`  On ${on}: ${name} (${why})`);
  if (problems.length > 0) {
    lines.push(`Problems: ${problems.length} of ${count(result.items.length, 'item')} cannot be fetched:`);
    for (const { name, message, code, because } of problems) {
      if (because !== undefined) continue;
      const follow = problems.filter((one) => one.because === name).length;
      const needed = follow === 0 ? '' : `; ${follow === 1 ? '1 item needs' : `${follow} items need`} it`;
      lines.push(`  ${printable(name)}: ${printable(message, 2000)}${needed} [${code}]`);
    }
  }
  return lines.join('\n');
}

function unknownSize(kind: string): string {
  return kind === 'image' || kind === 'media' ? 'when built' : '';
}
