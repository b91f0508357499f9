/**
 * Adds items to lists of a YAML text that a person wrote. The text is cut open where they go in, and is otherwise the same
 * to the byte: a library that writes the document anew would wrap lines and move comments.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isScalar, isSeq, type Scalar, type YAMLSeq } from 'yaml';
import { TalosError } from '../errors.ts';
import { YamlText } from './text.ts';

export interface AddedItems {
  /** Keys and positions that lead to the list, such as ['talos', 'versions']; or to a single value. */
  readonly path: readonly (string | number)[];
  /** Plain scalars, in the order they come in. */
  readonly items: readonly string[];
  /** Tells whether an item of the list stays behind the added ones; default none, so they come last. */
  readonly isAfter?: (item: string) => boolean;
  /** The key of the list that takes the place of a single value. */
  readonly listKey?: string;
}

interface Cut {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const maxBytes = 1024 * 1024;

/**
 * @param input a text that parseYamlFile accepts @param file name for messages
 * @throws BAD_YAML for a text that is not YAML, and where a path leads to neither a list nor a value
 */
export function insertItems(input: string, file: string, added: readonly AddedItems[]): string {
  const source = new YamlText(input, maxBytes, (line, column) => `${file}:${line}:${column}`);
  const [document] = [...source.documents()];
  if (document === undefined) throw source.error(0, 'the file is empty');
  const cuts = added.flatMap((one) => cutsFor(document, source, one));
  let text = source.text;
  for (const { start, end, text: put } of cuts.toSorted((a, b) => b.start - a.start))
    text = `${text.slice(0, start)}${put}${text.slice(end)}`;
  check(document, text, file, added);
  // A byte order mark is no part of what was parsed.
  return input.startsWith('\ufeff') ? `\ufeff${text}` : text;
}

function cutsFor(document: Document.Parsed, source: YamlText, added: AddedItems): readonly Cut[] {
  const { path, items } = added;
  const node = document.getIn(path, true);
  if (items.length === 0) return [];
  if (isScalar(node)) return cutsForValue(document, source, added, node);
  if (!isSeq(node) || node.items.length === 0) {
    throw source.error(0, `${path.join('.')} is no list with items; add ${items.join(', ')} by hand`);
  }
  return [node.flow === true ? flowCut(node, added) : blockCut(node, source, added)];
}

/** `version: v2` becomes `versions: [v1, v2]`. */
function cutsForValue(
  document: Document.Parsed,
  source: YamlText,
  { path, items, listKey }: AddedItems,
  node: Scalar,
): readonly Cut[] {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent)
    ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
    : undefined;
  const [start, end] = rangeOf(node);
  if (listKey === undefined || pair === undefined || !isScalar(pair.key)) {
    throw source.error(start, `${path.join('.')} is no list; add ${items.join(', ')} by hand`);
  }
  const [keyStart, keyEnd] = rangeOf(pair.key);
  return [
    { start: keyStart, end: keyEnd, text: listKey },
    { start, end, text: `[${items.join(', ')}, ${source.text.slice(start, end)}]` },
  ];
}

/** Between two items, or behind the last. */
function flowCut(list: YAMLSeq, { items, isAfter }: AddedItems): Cut {
  const later = laterItem(list, isAfter);
  const text = items.join(', ');
  if (later !== undefined) {
    const [start] = rangeOf(later);
    return { start, end: start, text: `${text}, ` };
  }
  const [, end] = rangeOf(list.items.at(-1));
  return { start: end, end, text: `, ${text}` };
}

/** Lines of their own: above an item with no comment above it, which would then be about another one; else below the last. */
function blockCut(list: YAMLSeq, source: YamlText, { items, isAfter }: AddedItems): Cut {
  const { text } = source;
  const lineBreak = text.includes('\r\n') ? '\r\n' : '\n';
  const later = laterItem(list, isAfter);
  const startOfLine = (offset: number): number => text.lastIndexOf('\n', offset - 1) + 1;
  const [first] = rangeOf(list);
  // `- ` and what is before it; of a list in a list, spaces take the place of the outer dash.
  const indent = text.slice(startOfLine(first), first).replace(/[^\t]/g, ' ');
  const lines = (end: string, start = ''): string =>
    items.map((item) => `${start}${indent}- ${item}${end}`).join('');
  if (later !== undefined && later !== list.items[0]) {
    const start = startOfLine(rangeOf(later)[0]);
    const above = text.slice(startOfLine(start - 1), start).trim();
    if (!above.startsWith('#') && above !== '') return { start, end: start, text: lines(lineBreak) };
  }
  const [, last] = rangeOf(list.items.at(-1));
  const end = text.indexOf('\n', last);
  if (end < 0) return { start: text.length, end: text.length, text: lines('', lineBreak) };
  return { start: end + 1, end: end + 1, text: lines(lineBreak) };
}

function laterItem(list: YAMLSeq, isAfter: AddedItems['isAfter']): unknown {
  return list.items.find((item) => isScalar(item) && isAfter?.(String(item.value)) === true);
}

function rangeOf(node: unknown): readonly [start: number, end: number] {
  const range = isScalar(node) || isMap(node) || isSeq(node) ? node.range : undefined;
  if (range === null || range === undefined)
    throw new TalosError('BAD_YAML', 'a part of the text has no place');
  return [range[0], range[1]];
}

/** Reads the new text, and finds the old value but for what was added. @throws BAD_YAML */
function check(document: Document.Parsed, text: string, file: string, added: readonly AddedItems[]): void {
  const source = new YamlText(text, maxBytes, (line, column) => `${file}:${line}:${column}`);
  const [after] = [...source.documents()];
  const expected = document.clone();
  const actual = after?.clone();
  const by = ({ path, items }: AddedItems): boolean => {
    if (items.length === 0) return true;
    const old = document.getIn(path, true);
    const { listKey } = added.find((one) => one.path === path) ?? {};
    const now = isScalar(old) ? [...path.slice(0, -1), listKey ?? ''] : path;
    const before = isScalar(old) ? [old.value] : plain(document.getIn(path));
    const list = plain(after?.getIn(now));
    expected.deleteIn(path);
    actual?.deleteIn(now);
    return isDeepStrictEqual([...list].sort(), [...before, ...items].sort());
  };
  const areListed = added.map(by).every(Boolean);
  if (areListed && isDeepStrictEqual(expected.toJS(), actual?.toJS())) return;
  throw new TalosError('BAD_YAML', `${file}: its form leaves no place for versions; add them by hand`);
}

function plain(list: unknown): readonly unknown[] {
  return isSeq(list) ? list.items.map((item) => (isScalar(item) ? item.value : item)) : [];
}
