/**
 * A YAML text and its documents, parsed by the `yaml` package. Bytes, tokens and levels of nesting are counted while the
 * text is split into tokens, so the bounds hold before the parser recurses or builds a tree.
 */
import {
  Composer,
  CST,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  Parser,
  visit,
  type YAMLParseError,
} from 'yaml';
import { quoted, TalosError } from '../errors.ts';

/** How a message begins, such as `mirror.yaml:3:5`. Lines and columns count from 1, columns in UTF-16 units. */
export type PlaceFormat = (line: number, column: number) => string;

/** About 20,000 list entries; their tree takes 80 MiB. */
const maxTokens = 100_000;
/** Levels of nested lists and mappings. */
const maxDepth = 32;

/** Types of the parser's tokens for lists and mappings. */
const collections = new Set(['block-map', 'block-seq', 'flow-collection']);

/** Replaces parser messages that quote the text, which may hold a secret, or that are meant for programmers. */
const messages: ReadonlyMap<string, string> = new Map([
  ['NON_STRING_KEY', 'a key must be plain text'],
  ['TAB_AS_INDENT', 'a tab as indentation; use spaces'],
  [
    'BAD_DQ_ESCAPE',
    'an escape sequence that YAML does not have; a backslash in double quotes is written \\\\',
  ],
  ['RESOURCE_EXHAUSTION', 'too large'],
]);

/**
 * Characters that YAML does not allow, and those that are a line break to some readers and text to others: U+0085,
 * U+2028, U+2029, a carriage return without a line feed. A byte order mark is allowed at the start only.
 */
const badCharacter =
  /\r(?!\n)|[^\t\n\r\u{20}-\u{84}\u{86}-\u{2027}\u{202a}-\u{d7ff}\u{e000}-\u{fefe}\u{ff00}-\u{fffd}\u{10000}-\u{10ffff}]/u;

export class YamlText {
  readonly text: string;
  readonly #format: PlaceFormat;
  readonly #lines = new LineCounter();

  /**
   * @param input UTF-8, or UTF-16 with a byte order mark, which is removed
   * @throws BAD_YAML for more than `maxBytes` bytes, for bytes that are not text, and for characters not allowed
   */
  constructor(input: string | Uint8Array, maxBytes: number, format: PlaceFormat) {
    this.#format = format;
    const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength;
    if (size > maxBytes) throw this.#error(1, 1, `larger than ${maxBytes} bytes`);
    const text = typeof input === 'string' ? input : decode(input);
    if (text === undefined) throw this.#error(1, 1, 'not UTF-8 text');
    this.text = text.startsWith('\ufeff') ? text.slice(1) : text;
    const bad = badCharacter.exec(this.text);
    if (bad === null) return;
    const before = this.text.slice(0, bad.index);
    const line = before.split('\n').length;
    throw this.#error(line, bad.index - before.lastIndexOf('\n'), complaint(bad[0]));
  }

  /** Yields the documents, each parsed on demand; none for an empty text. @throws BAD_YAML */
  *documents(): Generator<Document.Parsed> {
    const composer = new Composer({
      lineCounter: this.#lines,
      logLevel: 'silent',
      merge: false,
      strict: true,
      stringKeys: true,
      uniqueKeys: false,
      version: '1.2',
    });
    for (const document of composer.compose(this.#tokens(), true, this.text.length)) {
      const [failure] = document.errors;
      if (failure !== undefined) {
        throw this.error(failure.pos[0], messageOf(failure));
      }
      // A text without documents yields one without contents, which carries the errors.
      if (document.contents !== null) yield document as Document.Parsed;
    }
  }

  /**
   * Refuses anchors, aliases, tags, merge keys and duplicate keys.
   * @param allowedTag the one tag that is accepted
   * @throws BAD_YAML
   */
  checkPlain(document: Document.Parsed, allowedTag?: string): void {
    visit(document, (_, node) => {
      if (isAlias(node)) {
        throw this.error(node.range?.[0] ?? 0, 'aliases are not supported; write the value out');
      }
      if (!isScalar(node) && !isCollection(node)) return;
      const offset = node.range?.[0] ?? 0;
      if (node.anchor !== undefined) {
        throw this.error(offset, 'anchors are not supported; write the value out');
      }
      // The parser sets no tag by itself.
      if (node.tag !== undefined && node.tag !== allowedTag) {
        throw this.error(offset, `tag ${quoted(node.tag)} is not supported; write the value alone`);
      }
      if (isScalar(node) && node.source === '<<' && node.type === 'PLAIN') {
        throw this.error(offset, 'merge keys are not supported');
      }
      if (!isMap(node)) return;
      const keys = new Set<string>();
      for (const { key } of node.items) {
        if (!isScalar(key)) continue;
        const name = key.source ?? '';
        if (keys.has(name)) {
          throw this.error(key.range?.[0] ?? 0, 'the key is there twice; keys must be unique');
        }
        keys.add(name);
      }
    });
  }

  /** Returns line and column of an offset in the text. */
  position(offset: number): { readonly line: number; readonly column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }

  /** Returns the place of an offset, as the format writes it: `mirror.yaml:3:5`. */
  placeOf(offset: number): string {
    const { line, column } = this.position(offset);
    return this.#format(line, column);
  }

  error(offset: number, problem: string): TalosError {
    return new TalosError('BAD_YAML', `${this.placeOf(offset)}: ${problem}`);
  }

  #error(line: number, column: number, problem: string): TalosError {
    return new TalosError('BAD_YAML', `${this.#format(line, column)}: ${problem}`);
  }

  /** Yields parser tokens. The parser's stack holds the document, the open collections, and at most one scalar. */
  *#tokens(): ReturnType<Parser['parse']> {
    const parser = new Parser(this.#lines.addNewLine);
    this.#lines.addNewLine(0);
    let count = 0;
    /** The lexeme before, and the one before that. */
    let [before, beforeThat] = ['', ''];
    for (const lexeme of new Lexer().lex(this.text)) {
      const { offset } = parser;
      if (++count > maxTokens) {
        throw this.error(offset, `more than ${maxTokens} YAML tokens; split it, or move long lists out`);
      }
      if (before === '?' && beforeThat !== CST.SCALAR && /^[,\]}]$/.test(lexeme)) {
        // This parser reads a key here, Go reads text.
        throw this.error(offset, 'a question mark alone; put it in quotes');
      }
      [before, beforeThat] = [lexeme, before];
      for (const token of parser.next(lexeme)) {
        if (token.type === 'directive') {
          throw this.error(token.offset, 'a line that begins with % is not supported');
        }
        // Stop at the first error: collecting thousands costs seconds.
        if (token.type === 'error') throw this.error(token.offset, token.message.split(': ')[0] ?? '');
        yield token;
      }
      const { stack } = parser;
      if (stack.length > maxDepth + 1 && collections.has(stack.at(-1)?.type ?? '')) {
        throw this.error(offset, `nested deeper than ${maxDepth} levels`);
      }
    }
    yield* parser.end();
  }
}

/** Returns the parser's message without the text that it may quote. */
function messageOf({ code, message }: YAMLParseError): string {
  return messages.get(code) ?? (code === 'UNEXPECTED_TOKEN' ? (message.split(': ')[0] ?? '') : message);
}

/** Returns undefined for bytes that are not text. */
function decode(bytes: Uint8Array): string | undefined {
  const [first, second] = bytes;
  const encoding =
    first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function complaint(character: string): string {
  const code = `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
  if (character === '\r') return 'a carriage return without a line feed; end lines with a line feed';
  if (/[\u0085\u2028\u2029]/.test(character)) {
    return `${code} is a line break to some readers of YAML and text to others; write it as an escape in double quotes`;
  }
  return `the character ${code} is not allowed in YAML; write it as an escape in double quotes`;
}
