/** Tokens to trees, one document at a time. */
import { TalosError } from '../errors.ts';
import {
  type AliasNode,
  type ContentNode,
  type MappingNode,
  maxValues,
  type Node,
  type ScalarNode,
  type SequenceNode,
  shortTag,
} from './node.ts';
import type { Reader } from './reader.ts';
import { Scanner, type Token } from './scanner.ts';

type Kind = Token['kind'];

export class Composer {
  readonly #scanner: Scanner;
  readonly #anchors = new Map<string, ContentNode>();
  readonly #prefixes = new Map<string, string>();
  #first = true;
  #nodes = 0;

  constructor(reader: Reader) {
    this.#scanner = new Scanner(reader);
    this.#scanner.take();
  }

  /**
   * The next document, undefined behind the last. Text behind a document is read only as far as needed to know
   * that it ended.
   * @throws BAD_YAML
   */
  document(): Node | undefined {
    while (this.#at('document-end')) this.#scanner.take();
    if (this.#at('stream-end')) return undefined;
    this.#prefixes.clear();
    this.#nodes = 0;
    const explicit = !this.#first || this.#at('version-directive', 'tag-directive', 'document-start');
    this.#first = false;
    if (explicit) this.#directives();
    for (const [handle, prefix] of [
      ['!', '!'],
      ['!!', 'tag:yaml.org,2002:'],
    ] as const) {
      if (!this.#prefixes.has(handle)) this.#prefixes.set(handle, prefix);
    }
    if (explicit) {
      if (!this.#at('document-start')) throw this.#error('a new document must begin with "---"');
      this.#scanner.take();
    }
    const empty =
      explicit &&
      this.#at('version-directive', 'tag-directive', 'document-start', 'document-end', 'stream-end');
    const node = empty ? this.#empty() : this.#node('block');
    if (this.#at('document-end')) this.#scanner.take();
    return node;
  }

  #at(...kinds: readonly Kind[]): boolean {
    return kinds.includes(this.#scanner.peek().kind);
  }

  #error(what: string, line = this.#scanner.peek().line): TalosError {
    return new TalosError('BAD_YAML', `line ${line}: ${what}`);
  }

  #directives(): void {
    let versions = 0;
    for (;;) {
      const token = this.#scanner.peek();
      if (token.kind === 'version-directive') {
        versions++;
        if (versions > 1 || token.version !== '1.1') throw this.#error('%YAML must be 1.1, once');
      } else if (token.kind === 'tag-directive') {
        if (this.#prefixes.has(token.handle)) throw this.#error('%TAG twice for the same handle');
        this.#prefixes.set(token.handle, token.prefix);
      } else return;
      this.#scanner.take();
    }
  }

  /** Bounds what a document takes in memory before anything of it is used. */
  #count(line: number): void {
    if (++this.#nodes > maxValues) throw this.#error(`more than ${maxValues} values`, line);
  }

  #empty(line = this.#scanner.peek().line, tag = ''): ScalarNode {
    this.#count(line);
    return { kind: 'scalar', tag, value: '', plain: true, line };
  }

  /** @param context where the node stands: a list without indentation is allowed as a block mapping's value */
  #node(context: 'block' | 'mapping' | 'flow'): Node {
    const start = this.#scanner.peek();
    this.#count(start.line);
    if (start.kind === 'alias') return this.#alias();
    const { anchor, tag } = this.#properties();
    const token = this.#scanner.peek();
    if (token.kind === 'scalar') {
      this.#scanner.take();
      const { value, plain } = token;
      return this.#anchored(anchor, { kind: 'scalar', tag, value, plain, line: start.line });
    }
    if (token.kind === 'block-entry' && context === 'mapping') {
      return this.#blockSequence(this.#sequence(anchor, start.line), false);
    }
    if (token.kind === 'flow-sequence-start') return this.#flowSequence(this.#sequence(anchor, start.line));
    if (token.kind === 'flow-mapping-start') return this.#flowMapping(this.#mapping(anchor, start.line));
    if (token.kind === 'block-sequence-start' && context !== 'flow') {
      return this.#blockSequence(this.#sequence(anchor, start.line), true);
    }
    if (token.kind === 'block-mapping-start' && context !== 'flow') {
      return this.#blockMapping(this.#mapping(anchor, start.line));
    }
    if (anchor !== undefined || tag !== '') {
      return this.#anchored(anchor, this.#empty(start.line, tag));
    }
    throw this.#error('a value is missing');
  }

  #alias(): AliasNode {
    const token = this.#scanner.take();
    const name = token.kind === 'alias' ? token.name : '';
    const target = this.#anchors.get(name);
    if (target === undefined) throw this.#error('an alias without its anchor', token.line);
    return { kind: 'alias', name, target, line: token.line };
  }

  #properties(): { anchor: string | undefined; tag: string } {
    let anchor: string | undefined;
    let tag = '';
    let tagged = false;
    for (;;) {
      const token = this.#scanner.peek();
      if (token.kind === 'anchor' && anchor === undefined) anchor = token.name;
      else if (token.kind === 'tag' && !tagged) {
        tagged = true;
        tag = this.#tag(token.handle, token.suffix);
      } else return { anchor, tag };
      this.#scanner.take();
    }
  }

  #tag(handle: string, suffix: string): string {
    if (handle === '') return shortTag(suffix);
    const prefix = this.#prefixes.get(handle);
    if (prefix === undefined) throw this.#error('a tag whose handle was not declared');
    return shortTag(prefix + suffix);
  }

  #anchored<N extends ContentNode>(anchor: string | undefined, node: N): N {
    if (anchor !== undefined) this.#anchors.set(anchor, node);
    return node;
  }

  #sequence(anchor: string | undefined, line: number): SequenceNode {
    return this.#anchored(anchor, { kind: 'sequence', items: [], line });
  }

  #mapping(anchor: string | undefined, line: number): MappingNode {
    return this.#anchored(anchor, { kind: 'mapping', entries: [], line });
  }

  /** @param indented false for a list in the column of its key: it has no start and no end of its own */
  #blockSequence(node: SequenceNode, indented: boolean): SequenceNode {
    if (indented) this.#scanner.take();
    while (this.#at('block-entry')) {
      const { line } = this.#scanner.take();
      const empty = indented
        ? this.#at('block-entry', 'block-end')
        : this.#at('block-entry', 'key', 'value', 'block-end');
      node.items.push(empty ? this.#empty(line) : this.#node('block'));
    }
    if (indented) {
      if (!this.#at('block-end')) throw this.#error('"- " is missing in a list');
      this.#scanner.take();
    }
    return node;
  }

  #blockMapping(node: MappingNode): MappingNode {
    this.#scanner.take();
    while (!this.#at('block-end')) {
      if (!this.#at('key')) throw this.#error('a key is missing in a mapping');
      node.entries.push([this.#blockPart(), this.#at('value') ? this.#blockPart() : this.#empty()]);
    }
    this.#scanner.take();
    return node;
  }

  /** What stands behind a `key` or `value` token. */
  #blockPart(): Node {
    const { line } = this.#scanner.take();
    return this.#at('key', 'value', 'block-end') ? this.#empty(line) : this.#node('mapping');
  }

  #flowSequence(node: SequenceNode): SequenceNode {
    this.#scanner.take();
    while (!this.#at('flow-sequence-end')) {
      if (node.items.length > 0) {
        if (!this.#at('flow-entry')) throw this.#error('"," or "]" is missing');
        this.#scanner.take();
        if (this.#at('flow-sequence-end')) break;
      }
      node.items.push(this.#at('key') ? this.#flowPair() : this.#node('flow'));
    }
    this.#scanner.take();
    return node;
  }

  /** `[a: b]`: a mapping of one entry. Where its key is empty, the library drops the token behind it. */
  #flowPair(): MappingNode {
    const { line } = this.#scanner.take();
    const closes: readonly Kind[] = ['flow-entry', 'flow-sequence-end'];
    let key: Node;
    if (this.#at('value', ...closes)) key = this.#empty(this.#scanner.take().line);
    else key = this.#node('flow');
    let value: Node = this.#empty();
    if (this.#at('value')) {
      this.#scanner.take();
      value = this.#at(...closes) ? this.#empty() : this.#node('flow');
    }
    return { kind: 'mapping', entries: [[key, value]], line };
  }

  #flowMapping(node: MappingNode): MappingNode {
    const closes: readonly Kind[] = ['flow-entry', 'flow-mapping-end'];
    this.#scanner.take();
    while (!this.#at('flow-mapping-end')) {
      if (node.entries.length > 0) {
        if (!this.#at('flow-entry')) throw this.#error('"," or "}" is missing');
        this.#scanner.take();
        if (this.#at('flow-mapping-end')) break;
      }
      if (!this.#at('key')) {
        node.entries.push([this.#node('flow'), this.#empty()]);
        continue;
      }
      this.#scanner.take();
      const key = this.#at('value', ...closes) ? this.#empty() : this.#node('flow');
      let value: Node = this.#empty();
      if (this.#at('value')) {
        this.#scanner.take();
        value = this.#at(...closes) ? this.#empty() : this.#node('flow');
      }
      node.entries.push([key, value]);
    }
    this.#scanner.take();
    return node;
  }
}
