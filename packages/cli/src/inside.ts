/** "Will it work inside?" on the command line: the flags of the question, and the answer as text. */
import type { InsideFinding, Site } from '@omni-airgap/talos';
import type { Command } from 'commander';
import { paragraph } from './format.ts';

export interface InsideFlags {
  readonly site?: string;
  readonly strict?: true;
}

export function withInside(command: Command): Command {
  return command
    .option('--site <file>', 'check against the URLs of this site file (as for load --site)')
    .option('--strict', 'treat warnings about the site as errors (exit 2)');
}

/** @throws NO_INPUT, CONFIG for a site file that cannot be used */
export async function insideOptions({
  site,
  strict,
}: InsideFlags): Promise<{ readonly site: Site | undefined; readonly strict: boolean }> {
  const isStrict = strict === true;
  if (site === undefined) return { site, strict: isStrict };
  // The loader is large, and most runs have no site file.
  const { readSite } = await import('@omni-airgap/loader');
  return { site: (await readSite(site)).site, strict: isStrict };
}

const titles = { error: 'Error', warning: 'Warning', confirm: 'To confirm' } as const;

/** A heading and each finding; none when nothing is known against the set. */
export function describeInside(findings: readonly InsideFinding[]): readonly string[] {
  if (findings.length === 0) return [];
  const told = findings.map(({ level, message }) => paragraph(`${titles[level]}: ${message}`, '  '));
  return ['Will it work inside?', ...told];
}
