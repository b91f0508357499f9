/** YAML as a tree, before any value has been given a type. */

/** Levels of nesting, of flow and of block collections each; the library allows 10000, on a larger stack. */
export const maxDepth = 500;
/** Nodes of a document, and values with aliases expanded; the library lets some 4 million values pass. */
export const maxValues = 200_000;

export interface ScalarNode {
  readonly kind: 'scalar';
  /** Short form (`!!str`), or empty when none was written; `!` stays `!`. */
  readonly tag: string;
  readonly value: string;
  /** Written without quotes and not as a block scalar: the value decides the type. */
  readonly plain: boolean;
  readonly line: number;
}
export interface SequenceNode {
  readonly kind: 'sequence';
  readonly items: Node[];
  readonly line: number;
}
export interface MappingNode {
  readonly kind: 'mapping';
  readonly entries: (readonly [key: Node, value: Node])[];
  readonly line: number;
}
export interface AliasNode {
  readonly kind: 'alias';
  readonly name: string;
  readonly target: ContentNode;
  readonly line: number;
}
export type ContentNode = ScalarNode | SequenceNode | MappingNode;
export type Node = ContentNode | AliasNode;

const standardPrefix = 'tag:yaml.org,2002:';

/** `tag:yaml.org,2002:int` as `!!int`; others as they are. */
export function shortTag(tag: string): string {
  return tag.startsWith(standardPrefix) ? `!!${tag.slice(standardPrefix.length)}` : tag;
}
