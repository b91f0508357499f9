/**
 * Files that people write, such as mirror.yaml and site.yaml, read strictly: one document of plain mappings, lists and
 * scalars, each with its line and column.
 */
import { type Document, isCollection, isMap, isScalar } from 'yaml';
import type { TalosError } from '../errors.ts';
import { YamlText } from './text.ts';

/** A mirror.yaml of every Talos version ever released stays far below. */
const maxBytes = 1024 * 1024;

/** Keys and positions that lead to a member, such as ['talos', 'versions', 0]. */
type YamlPath = readonly (string | number)[];

export interface YamlFile {
  /** The plain value; null for an empty file. */
  readonly value: unknown;
  /** FILE:LINE:COLUMN of a member; of the nearest member above it, where it is missing. */
  placeOf(path: YamlPath): string;
  /** A BAD_YAML error at the place of a member. */
  error(path: YamlPath, problem: string): TalosError;
  /** The same, at the key of the member and not at its value. */
  errorAtKey(path: YamlPath, problem: string): TalosError;
  /** A member as it is written, at the line and column that it has here; undefined when it is not there. */
  textOf(path: YamlPath): string | undefined;
}

/**
 * @param input UTF-8, up to 1 MiB
 * @param file name for messages
 * @throws BAD_YAML with FILE:LINE:COLUMN for what is not YAML; for anchors, aliases, tags, merge keys, duplicate keys,
 *   directives and a second document; beyond 32 levels of nesting or 100000 tokens
 */
export function parseYamlFile(input: string | Uint8Array, file: string): YamlFile {
  const source = new YamlText(input, maxBytes, (line, column) => `${file}:${line}:${column}`);
  const [document, second] = [...source.documents()];
  if (second !== undefined) {
    throw source.error(second.range[0], 'there is a second document; remove the line ---');
  }
  if (document !== undefined) source.checkPlain(document);

  const offsetOf = (path: YamlPath): number | undefined => rangeAt(document, path)?.[0];
  const placedAt = (path: YamlPath): number => {
    for (let n = path.length; n > 0; n--) {
      const offset = offsetOf(path.slice(0, n));
      if (offset !== undefined) return offset;
    }
    return 0;
  };
  return {
    value: document?.toJS({ maxAliasCount: 0 }) ?? null,
    placeOf: (path) => source.placeOf(placedAt(path)),
    error: (path, problem) => source.error(placedAt(path), problem),
    errorAtKey(path, problem) {
      const parent = path.length === 1 ? document?.contents : document?.getIn(path.slice(0, -1), true);
      const pair =
        isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
      const offset = pair && isScalar(pair.key) ? pair.key.range?.[0] : undefined;
      return source.error(offset ?? placedAt(path), problem);
    },
    textOf(path) {
      const range = rangeAt(document, path);
      if (range === undefined) return undefined;
      const { line, column } = source.position(range[0]);
      // Its later lines are indented as the first one was.
      return `${'\n'.repeat(line - 1)}${' '.repeat(column - 1)}${source.text.slice(range[0], range[1])}`;
    },
  };
}

function rangeAt(
  document: Document | undefined,
  path: YamlPath,
): readonly [number, number, number] | undefined {
  const node = document?.getIn(path, true);
  return isScalar(node) || isCollection(node) ? (node.range ?? undefined) : undefined;
}
