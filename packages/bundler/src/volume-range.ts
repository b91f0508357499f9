/** `--volumes 2-5,7`: which volumes go to a medium. */
import { CodedError, printable } from '@omni-airgap/oci/base';

/**
 * @param count volumes there are
 * @returns their numbers, rising; all when nothing was said
 * @throws USAGE
 */
export function parseVolumeRange(text: string | undefined, count: number): readonly number[] {
  if (text === undefined) return [...Array(count).keys()];
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const [, first, last = first] = /^([0-9]{1,3})(?:-([0-9]{1,3}))?$/.exec(part.trim()) ?? [];
    if (first === undefined || Number(last) < Number(first)) {
      throw new CodedError(
        'USAGE',
        `--volumes ${printable(text)}: write numbers or ranges, such as 2-5 or 1,3`,
      );
    }
    if (Number(last) >= count) {
      throw new CodedError(
        'USAGE',
        `--volumes ${printable(text)}: the last volume of this bundle is ${count - 1}`,
      );
    }
    for (let volume = Number(first); volume <= Number(last); volume++) chosen.add(volume);
  }
  return [...chosen].sort((a, b) => a - b);
}

/** As parseVolumeRange takes it. @param volumes rising, one at least */
export function formatVolumeRange(volumes: readonly number[]): string {
  const runs: { first: number; last: number }[] = [];
  for (const volume of volumes) {
    const run = runs.at(-1);
    if (run?.last === volume - 1) run.last = volume;
    else runs.push({ first: volume, last: volume });
  }
  return runs.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
