/**
 * Text to tokens. Block structure has no characters of its own: it is told by columns, and a mapping is only
 * known to have begun when the `:` behind its first key is met. So tokens wait in a queue, a place where a key
 * may have begun is remembered (one a flow level), and `key` and `mapping-start` are put in there later.
 * How far the queue reads ahead is the library's too, as text behind the first document is otherwise not looked at.
 */
import { skipComments, skipLineComment } from './comments.ts';
import { Cursor, isBlank, isBlankOrEnd, isBreak } from './cursor.ts';
import { maxDepth } from './node.ts';
import { type Directive, scanAnchor, scanDirective, scanTag } from './properties.ts';
import { end, type Reader } from './reader.ts';
import { scanBlock, scanPlain, scanQuoted } from './scalars.ts';

export type Token = { readonly line: number } & (
  | { readonly kind: 'scalar'; readonly value: string; readonly plain: boolean }
  | { readonly kind: 'anchor' | 'alias'; readonly name: string }
  | { readonly kind: 'tag'; readonly handle: string; readonly suffix: string }
  | Directive
  | { readonly kind: Punctuation }
);
type Punctuation =
  | 'stream-start'
  | 'stream-end'
  | 'document-start'
  | 'document-end'
  | 'block-sequence-start'
  | 'block-mapping-start'
  | 'block-end'
  | 'block-entry'
  | 'key'
  | 'value'
  | 'flow-sequence-start'
  | 'flow-sequence-end'
  | 'flow-mapping-start'
  | 'flow-mapping-end'
  | 'flow-entry';

/** Where a key without question mark may have begun. */
interface SimpleKey {
  readonly token: number;
  readonly line: number;
  readonly column: number;
  readonly flowLevel: number;
  /** Nothing but a key can stand here: the column is that of an open mapping. */
  readonly required: boolean;
}
/** What the library holds before it met one, and again on each new flow level. */
const noKey: SimpleKey = { token: 0, line: 0, column: 0, flowLevel: 0, required: false };

export class Scanner {
  readonly #cursor: Cursor;
  /** From `#head` on they wait; those before are dropped in lots. Numbers of tokens count from the first of all. */
  #tokens: Token[] = [{ kind: 'stream-start', line: 1 }];
  #head = 0;
  #taken = 0;
  #indent = -1;
  readonly #indents: number[] = [];
  #flowLevel = 0;
  #keyAllowed = true;
  /** The last on this flow level, and those of the levels around it. */
  #key = noKey;
  #keys: SimpleKey[] = [];
  /** A colon here makes it a key. Opening a flow level does not end this, so `noKey` can be one and go on the stack. */
  #keyPossible = false;

  constructor(reader: Reader) {
    this.#cursor = new Cursor(reader);
  }

  /** The next token, left in place. @throws BAD_YAML */
  peek(): Token {
    for (;;) {
      const waiting = this.#tokens.length - this.#head > 2;
      const oldestKey = this.#keys[0] ?? (this.#keyPossible ? this.#key : undefined);
      const last = this.#tokens.at(-1);
      if (waiting && oldestKey?.token !== this.#taken) break;
      if (last?.kind === 'stream-end') break;
      this.#fetch();
    }
    return this.#tokens[this.#head] ?? { kind: 'stream-end', line: this.#cursor.line };
  }

  /** @throws BAD_YAML */
  take(): Token {
    const token = this.peek();
    this.#taken++;
    this.#head++;
    if (this.#head > 1000 && this.#head * 2 > this.#tokens.length) {
      this.#tokens = this.#tokens.slice(this.#head);
      this.#head = 0;
    }
    return token;
  }

  #push(kind: Punctuation, line = this.#cursor.line): void {
    this.#tokens.push({ kind, line });
  }

  #fetch(): void {
    const cursor = this.#cursor;
    this.#skipToToken();
    this.#unroll(cursor.column);
    const c = cursor.peek();
    if (c === end) {
      this.#fetchEnd();
      return;
    }
    if (cursor.column === 1 && c === '%') {
      this.#leaveBlocks();
      const { line } = cursor;
      this.#tokens.push({ ...scanDirective(cursor), line });
      return;
    }
    if (cursor.atDocumentIndicator()) {
      this.#leaveBlocks();
      this.#push(c === '-' ? 'document-start' : 'document-end');
      cursor.skip(3);
      return;
    }
    this.#fetchContent(c);
    if (this.#tokens.at(-1)?.kind !== 'block-entry') skipLineComment(cursor);
  }

  #fetchContent(c: string): void {
    const cursor = this.#cursor;
    const spaced = isBlankOrEnd(cursor.peek(1));
    if (c === '[') this.#openFlow('flow-sequence-start');
    else if (c === '{') this.#openFlow('flow-mapping-start');
    else if (c === ']') this.#closeFlow('flow-sequence-end');
    else if (c === '}') this.#closeFlow('flow-mapping-end');
    else if (c === ',') this.#fetchFlowEntry();
    else if (c === '-' && spaced) this.#fetchBlockEntry();
    else if (c === '?' && spaced) this.#fetchKey();
    else if (c === ':' && (spaced || (this.#flowLevel > 0 && !this.#atFlowItem()))) this.#fetchValue();
    else if ((c === '|' || c === '>') && this.#flowLevel === 0) this.#fetchBlockScalar();
    else if (/^[&*!'"]$/.test(c) || this.#startsPlain(c)) this.#fetchKeyLike(c);
    else throw cursor.error('a character that cannot begin anything here');
  }

  #fetchBlockScalar(): void {
    const { line } = this.#cursor;
    this.#dropKey();
    this.#keyAllowed = true;
    this.#tokens.push({ kind: 'scalar', value: scanBlock(this.#cursor, this.#indent), plain: false, line });
  }

  /** What a key may begin with. */
  #fetchKeyLike(c: string): void {
    const cursor = this.#cursor;
    const { line } = cursor;
    this.#saveKey();
    this.#keyAllowed = false;
    if (c === '*') this.#tokens.push({ kind: 'alias', name: scanAnchor(cursor), line });
    else if (c === '&') this.#tokens.push({ kind: 'anchor', name: scanAnchor(cursor), line });
    else if (c === '!') this.#tokens.push({ kind: 'tag', ...scanTag(cursor), line });
    else if (c === "'" || c === '"') {
      this.#tokens.push({ kind: 'scalar', value: scanQuoted(cursor), plain: false, line });
    } else {
      const { value, broke } = scanPlain(cursor, this.#indent, this.#flowLevel > 0);
      if (broke) this.#keyAllowed = true;
      this.#tokens.push({ kind: 'scalar', value, plain: true, line });
    }
  }

  #startsPlain(c: string): boolean {
    const next = this.#cursor.peek(1);
    if (c === '-') return !isBlank(next);
    if (c === '?' || c === ':') return !isBlankOrEnd(next);
    return !isBlankOrEnd(c) && !/^[,[\]{}#&*!|>'"%@`]$/.test(c);
  }

  /** Right behind `[` or `,`, where a colon begins a plain scalar. */
  #atFlowItem(): boolean {
    const last = this.#tokens.at(-1)?.kind;
    return last === 'flow-entry' || last === 'flow-sequence-start';
  }

  #skipToToken(): void {
    const cursor = this.#cursor;
    for (;;) {
      cursor.look(1);
      if (cursor.column === 1 && cursor.isMarked) cursor.skip();
      while (
        cursor.peek() === ' ' ||
        (cursor.peek() === '\t' && (this.#flowLevel > 0 || !this.#keyAllowed))
      ) {
        cursor.skip();
      }
      if (cursor.peek() === '#') skipComments(cursor);
      if (!isBreak(cursor.peek())) return;
      cursor.readLine();
      if (this.#flowLevel === 0) this.#keyAllowed = true;
    }
  }

  #fetchEnd(): void {
    this.#leaveBlocks();
    this.#key = noKey;
    this.#keys = [];
    this.#push('stream-end');
  }

  #leaveBlocks(): void {
    this.#unroll(-1);
    this.#dropKey();
    this.#keyAllowed = false;
  }

  #openFlow(kind: 'flow-sequence-start' | 'flow-mapping-start'): void {
    this.#saveKey();
    this.#flowLevel++;
    if (this.#flowLevel > maxDepth) throw this.#cursor.error(`more than ${maxDepth} levels of nesting`);
    if (this.#keyPossible) this.#keys.push(this.#key);
    this.#key = noKey;
    this.#keyAllowed = true;
    this.#push(kind);
    this.#cursor.skip();
  }

  #closeFlow(kind: 'flow-sequence-end' | 'flow-mapping-end'): void {
    this.#dropKey();
    if (this.#flowLevel > 0) {
      this.#flowLevel--;
      if (this.#keys.at(-1)?.flowLevel === this.#flowLevel) {
        this.#key = this.#keys.pop() ?? noKey;
        this.#keyPossible = true;
      }
    }
    this.#keyAllowed = false;
    this.#push(kind);
    this.#cursor.skip();
  }

  #fetchFlowEntry(): void {
    this.#dropKey();
    this.#keyAllowed = true;
    this.#push('flow-entry');
    this.#cursor.skip();
  }

  #fetchBlockEntry(): void {
    if (this.#flowLevel === 0) {
      if (!this.#keyAllowed) throw this.#cursor.error('a list item where none can be');
      this.#roll(this.#cursor.column, 'block-sequence-start');
    }
    this.#dropKey();
    this.#keyAllowed = true;
    this.#push('block-entry');
    this.#cursor.skip();
  }

  #fetchKey(): void {
    if (this.#flowLevel === 0) {
      if (!this.#keyAllowed) throw this.#cursor.error('a mapping key where none can be');
      this.#roll(this.#cursor.column, 'block-mapping-start');
    }
    this.#dropKey();
    this.#keyAllowed = this.#flowLevel === 0;
    this.#push('key');
    this.#cursor.skip();
  }

  #fetchValue(): void {
    const key = this.#key;
    if (this.#keyPossible && key.line === this.#cursor.line) {
      this.#tokens.splice(this.#head + key.token - this.#taken, 0, { kind: 'key', line: key.line });
      this.#roll(key.column, 'block-mapping-start', this.#head + key.token - this.#taken);
      this.#key = { ...key, required: false };
      this.#keyPossible = false;
      this.#keyAllowed = false;
    } else {
      if (this.#flowLevel === 0) {
        if (!this.#keyAllowed) throw this.#cursor.error('a mapping value where none can be');
        this.#roll(this.#cursor.column, 'block-mapping-start');
      }
      this.#keyAllowed = this.#flowLevel === 0;
    }
    this.#push('value');
    this.#cursor.skip();
  }

  #saveKey(): void {
    if (!this.#keyAllowed) return;
    this.#dropKey();
    this.#keyPossible = true;
    this.#key = {
      token: this.#taken + this.#tokens.length - this.#head,
      line: this.#cursor.line,
      column: this.#cursor.column,
      flowLevel: this.#flowLevel,
      required: this.#flowLevel === 0 && this.#indent === this.#cursor.column,
    };
  }

  #dropKey(): void {
    if (this.#key.required) throw this.#cursor.error('a key without ":"', this.#key.line);
    this.#keyPossible = false;
  }

  /** Opens a block collection when the column is deeper than the current one. */
  #roll(
    column: number,
    kind: 'block-sequence-start' | 'block-mapping-start',
    at = this.#tokens.length,
  ): void {
    if (this.#flowLevel > 0 || this.#indent >= column) return;
    this.#indents.push(this.#indent);
    this.#indent = column;
    if (this.#indents.length > maxDepth) throw this.#cursor.error(`more than ${maxDepth} levels of nesting`);
    this.#tokens.splice(at, 0, { kind, line: this.#cursor.line });
  }

  /** Closes the block collections deeper than the column. */
  #unroll(column: number): void {
    if (this.#flowLevel > 0) return;
    while (this.#indent > column) {
      this.#push('block-end');
      this.#indent = this.#indents.pop() ?? -1;
    }
  }
}
