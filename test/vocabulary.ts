/** Words and phrases that this project does not use in messages and documentation, and what it writes instead. */
import { parseAst } from 'vitest/node';

interface Rule {
  readonly phrase: string;
  readonly pattern: RegExp;
  readonly instead: string;
}

const word = (phrase: string, instead: string, pattern = phrase.replaceAll(' ', '\\s+')): Rule => ({
  phrase,
  pattern: new RegExp(`(?<![\\p{L}\\p{N}])(?:${pattern})(?![\\p{L}\\p{N}])`, 'iu'),
  instead,
});

export const rules: readonly Rule[] = [
  word('go on', 'continue, resume', '(?:go|goes|going|gone|went)\\s+on'),
  word(
    'there already',
    'already exists, already present',
    '(?:is|are|was|were|be|\\w+s)\\s+there\\s+already|already\\s+there',
  ),
  word('what is there', 'existing …', 'what\\s+(?:is|are|was|were)\\s+(?:not\\s+)?there'),
  word('not there', 'missing, not found', '(?:is|are|was|were)?\\s*not\\s+there|(?:isn.t|aren.t)\\s+there'),
  word('what has left', 'removed …', 'what\\s+(?:has\\s+left|left|lies|came|comes)'),
  word('that is none', 'bad …, not a …', '(?:that|which)\\s+(?:is|are|was|were)\\s+none'),
  word('by now', 'already, meanwhile'),
  word('on another way', 'through a separate channel', '(?:on|by)\\s+another\\s+way'),
  word('whole and right', 'complete and undamaged'),
  word('in nobody’s way', 'ignored', "in\\s+nobody['’]s\\s+way"),
  word('let go of', 'forget, release', '(?:let|lets|letting)\\s+go(?:\\s+of)?'),
  word('anybody', 'anyone', 'anybody|somebody'),
  // A message, a document or a registry may say something; a person specifies, a command prints.
  word(
    'say',
    'print, specify, show, report',
    '(?:[;:,#(]|^|\\b(?:and|or|only|to|can|be|unless|is|are|was|were))\\s*(?:say|said)',
  ),
  word('asked of', 'requested from'),
  word('see to it', 'fix the cause', 'see\\s+to\\s+(?:it|the|that)'),
  word('not go well', 'fail', 'not\\s+go\\s+well'),
  word('away with', 'clean up, remove'),
  word('yet to come', 'in the future'),
  word('cannot be had', 'is unavailable', '(?:can|could)(?:not)?\\s+be\\s+had'),
  word('begun anew', 'started again', 'anew'),
  word('has it build', '… builds them', '(?:has|have|had)\\s+(?:it|them|him)\\s+(?:build|make|write|do)'),
  word('taken at its word', '(name the fact)', 'at\\s+(?:its|their|his)\\s+word'),
  word('go well', 'succeed', '(?:all|it|everything)\\s+(?:went|goes|is)\\s+well'),
  word(
    'British spelling',
    'American spelling',
    [
      'licences?|licenced',
      '\\w*(?:behaviour|colour|favour|honour|neighbour|flavour|labour)\\w*',
      '\\w*(?:organis|recognis|normalis|customis|initialis|serialis|optimis|synchronis|authoris|summaris|utilis|minimis|maximis|canonicalis)(?:e|es|ed|er|ers|ing|ation|ations)',
      'catalogues?|centres?|cancelled|cancelling|labelled|labelling|modelling|travelling|travelled|signalled',
      'analyse|analyses|analysed|defence|grey|whilst|artefacts?|programme|ageing|fulfil',
    ].join('|'),
  ),
];

interface Text {
  /** From the root of the repository. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly text: string;
}

type Node = Readonly<Record<string, unknown>>;

/** The string literals and template texts of a TypeScript source; import specifiers and keys are no texts. */
export function literalsOf(path: string, source: string): Text[] {
  const found: Text[] = [];
  const visit = (node: Node): void => {
    const { type } = node;
    const at = (text: string): void => {
      const line = source.slice(0, node['start'] as number).split('\n').length;
      // A text has words; one word alone is a name.
      if (/\p{L}\s+\p{L}/u.test(text)) found.push({ path, line, text: text.replaceAll(/\s+/g, ' ').trim() });
    };
    if (type === 'Literal' && typeof node['value'] === 'string') at(node['value']);
    if (type === 'TemplateLiteral') {
      const quasis = node['quasis'] as readonly { readonly value: { readonly cooked: string } }[];
      at(quasis.map(({ value }) => value.cooked).join('…'));
    }
    for (const [key, child] of Object.entries(node)) {
      if (key !== 'quasis' && typeof child === 'object' && child !== null) visit(child as Node);
    }
  };
  visit(parseAst(source, { lang: 'ts' }) as unknown as Node);
  return found;
}

/** The paragraphs of a page, each with its lines joined, and the comments in its code; all other code is judged where it comes from. */
export function paragraphsOf(path: string, page: string): Text[] {
  const found: Text[] = [];
  let text = '';
  let start = 0;
  let isCode = false;
  const end = (): void => {
    if (text !== '') found.push({ path, line: start, text });
    text = '';
  };
  for (const [i, line] of page.split('\n').entries()) {
    if (/^\s*```/.test(line)) isCode = !isCode;
    const isBreak = isCode || line.trim() === '' || /^\s*(?:```|#|\||[-*] |[0-9]+\. | {4})/.test(line);
    if (isBreak) end();
    const comment = isCode ? /(?:^|\s)#\s+(.*)$/.exec(line)?.[1] : undefined;
    if (comment !== undefined) found.push({ path, line: i + 1, text: comment });
    if (isCode || /^\s*```/.test(line) || line.trim() === '') continue;
    if (text === '') start = i + 1;
    text += `${text === '' ? '' : ' '}${line.trim()}`;
    if (/^\s*(?:#|\|)/.test(line)) end();
  }
  end();
  return found;
}

export interface Violation extends Text {
  readonly rule: Rule;
}

export function violationsIn(texts: readonly Text[]): Violation[] {
  return texts.flatMap((text) =>
    // What stands between backticks is code.
    rules
      .filter(({ pattern }) => pattern.test(text.text.replaceAll(/`[^`]*`/g, '`…`')))
      .map((rule) => ({ ...text, rule })),
  );
}
