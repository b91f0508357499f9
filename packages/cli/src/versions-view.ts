/** Versions in lines for people: what the ranges of mirror.yaml stand for, and the way from what a site has. */
import { type ChosenRange, labelOf, type PlannedUpgrade } from '@omni-airgap/fetcher';
import { printable } from '@omni-airgap/oci/base';
import { wrap } from './format.ts';

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

/** A line for each product that has a path, with what it lacks below; and for what is carried no more. */
export function upgradeLines({ paths, order, leaving, written }: PlannedUpgrade): readonly string[] {
  return [
    ...paths.flatMap(({ product, steps, skipped, add, unavailable, source }) => [
      `Upgrade of ${product}: ${steps.join(' > ')}${add.length === 0 ? '; mirror.yaml and the site have all of it' : ''}`,
      ...(skipped.length === 0
        ? []
        : [`  skips ${skipped.join(', ')}: upgrades go one minor release at a time (${source})`]),
      ...(add.length === 0
        ? []
        : written
          ? [`  added ${add.join(', ')} to mirror.yaml`]
          : [
              `  add ${add.join(', ')} to mirror.yaml; --write does${skipped.length === 0 ? ` (latest patches first: ${source})` : ''}`,
            ]),
      ...(unavailable.length === 0
        ? []
        : [`  no version of ${unavailable.join(', ')} is available upstream`]),
    ]),
    ...(paths.length < 2
      ? []
      : order === undefined
        ? ['No order of these steps keeps to versions that fit each other; see the warnings']
        : [
            'In this order, versions fit each other after each step:',
            wrap(order.map(({ product, version }) => `${product} ${version}`)),
          ]),
    ...(paths.length === 0 ? ['Upgrade: no minor release lies between the site and mirror.yaml.'] : []),
    ...leaving.map(
      ({ product, versions }) =>
        `The site has ${product} ${versions.join(', ')}, no longer carried: whatever runs ${versions.length === 1 ? 'it' : 'them'} needs an upgrade`,
    ),
  ];
}
