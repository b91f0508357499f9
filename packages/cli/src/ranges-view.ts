/** What the ranges of mirror.yaml stand for, in lines for people: plan, fetch and mirror. */
import { type ChosenRange, labelOf } from '@omni-airgap/fetcher';
import { printable } from '@omni-airgap/oci/base';

/** One line for each; none without ranges. */
export function rangeLines(ranges: readonly ChosenRange[]): readonly string[] {
  return ranges.map((one) => {
    const is = one.versions.join(', ');
    const since = one.chosenAt.slice(0, 10);
    const how = one.pinned
      ? `pinned on ${since}${one.update === undefined ? '' : `; fetch --update takes ${one.update.join(', ')}`}`
      : one.replaced === undefined
        ? 'chosen now'
        : `chosen now instead of ${one.replaced.join(', ')}`;
    return `${labelOf(one.list)} ${printable(one.range)}: ${is} (${how})`;
  });
}
