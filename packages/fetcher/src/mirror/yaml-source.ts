/**
 * YAML that people write, read strictly: plain mappings, lists and scalars, each with its line. Anchors, aliases,
 * tags, merge keys and duplicate keys are refused: they have no use here and a history of surprises.
 */
import { CodedError, printable } from '@omni-airgap/oci/base';
import { isAlias, isCollection, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml';

/** A mirror.yaml of every Talos version ever released stays far below. */
const maxYamlBytes = 1024 * 1024;
const maxDepth = 32;

/** Where the parser's own words are for programmers. */
const said: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'there is a second document; remove the line ---',
  DUPLICATE_KEY: 'the key is there twice; keys must be unique',
  NON_STRING_KEY: 'a key must be plain text',
};

export interface YamlSource {
  /** The plain value. */
  readonly value: unknown;
  /** FILE:LINE:COLUMN of a member; of the nearest that is there, where it is missing. */
  placeOf(path: readonly (string | number)[]): string;
  /** A CONFIG error at the place of a member, such as ['talos', 'versions', 0]. */
  error(path: readonly (string | number)[], problem: string): CodedError;
  /** The same, at the key of the member and not at its value. */
  errorAtKey(path: readonly (string | number)[], problem: string): CodedError;
  /** A member as it is written, at the line and column that it has here; undefined when it is not there. */
  textOf(path: readonly (string | number)[]): string | undefined;
}

/**
 * @param file name for messages
 * @throws CONFIG with file, line and column
 */
export function parseYaml(text: string, file: string): YamlSource {
  if (Buffer.byteLength(text) > maxYamlBytes)
    throw new CodedError('CONFIG', `${file}: larger than ${maxYamlBytes} bytes`);
  const lines = new LineCounter();
  const doc = parseDocument(text, {
    lineCounter: lines,
    strict: true,
    uniqueKeys: true,
    version: '1.2',
    merge: false,
    stringKeys: true,
  });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const at = (offset: number, problem: string): CodedError =>
    new CodedError('CONFIG', `${place(offset)}: ${problem}`);
  const [failure] = [...doc.errors, ...doc.warnings];
  if (failure !== undefined) throw at(failure.pos[0], said[failure.code] ?? firstLine(failure.message));
  visit(doc, (_, node, path) => {
    if (path.length > 2 * maxDepth) throw at(0, `nested deeper than ${maxDepth} levels`);
    if (isAlias(node)) throw at(node.range?.[0] ?? 0, 'aliases are not supported; write the value out');
    if (!isScalar(node) && !isCollection(node)) return;
    const offset = node.range?.[0] ?? 0;
    if (node.anchor !== undefined) throw at(offset, 'anchors are not supported; write the value out');
    // The parser sets none by itself: one that is there was written.
    if (node.tag !== undefined)
      throw at(offset, `tag ${printable(node.tag)} is not supported; write the value alone`);
    if (isScalar(node) && node.value === '<<' && node.type === 'PLAIN')
      throw at(offset, 'merge keys are not supported');
  });
  return {
    value: doc.toJS({ maxAliasCount: 0 }),
    placeOf(path) {
      for (let n = path.length; n > 0; n--) {
        const node = doc.getIn(path.slice(0, n), true);
        if ((isScalar(node) || isCollection(node)) && node.range) return place(node.range[0]);
      }
      return place(0);
    },
    error(path, problem) {
      return new CodedError('CONFIG', `${this.placeOf(path)}: ${problem}`);
    },
    errorAtKey(path, problem) {
      const parent = path.length === 1 ? doc.contents : doc.getIn(path.slice(0, -1), true);
      const pair =
        isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
      return pair && isScalar(pair.key) && pair.key.range
        ? at(pair.key.range[0], problem)
        : this.error(path, problem);
    },
    textOf(path) {
      const node = doc.getIn(path, true);
      if (!(isScalar(node) || isCollection(node)) || !node.range) return undefined;
      const { line, col } = lines.linePos(node.range[0]);
      // Its later lines are indented as the first one was.
      return `${'\n'.repeat(line - 1)}${' '.repeat(col - 1)}${text.slice(node.range[0], node.range[1])}`;
    },
  };
}

function firstLine(message: string): string {
  return (message.split('\n')[0] ?? message).replace(/ at line \d+, column \d+:?$/, '');
}
