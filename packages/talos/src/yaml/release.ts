/** What releases of the library write differently: with them differs the ID of a schematic. */

export interface Release {
  /** Quotes of words that only YAML 1.1 took for something else (`y`, `off`, `12:30`): yaml/go-yaml#380. */
  readonly words: 'single' | 'double';
  /**
   * What is written as a block: narrow where no line ends in a space, wide all text of several lines that can be. Wide
   * blocks also tell an indentation that a reader could not find out: yaml/go-yaml#78, #383.
   */
  readonly blocks: 'narrow' | 'wide';
}

/** v4.0.0-rc.5, rc.6 and 1c17b9c. */
export const reference: Release = { words: 'single', blocks: 'narrow' };

/**
 * All that a factory may have been built with: to 1.4.0 v4.0.0-rc.3 and rc.4, 1.5.0 a version without a tag
 * between rc.6 and rc.7, later ones v4.0.0.
 */
export const releases: readonly Release[] = [
  reference,
  { words: 'double', blocks: 'narrow' },
  { words: 'double', blocks: 'wide' },
  { words: 'single', blocks: 'wide' },
];
