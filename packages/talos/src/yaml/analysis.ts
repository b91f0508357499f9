/** What the characters of a scalar let it be written as. */
import { isBlank, isBlankOrEnd, isBreak, isPrintable } from './cursor.ts';
import { end } from './reader.ts';

export interface Analysis {
  readonly multiline: boolean;
  readonly plainAllowed: boolean;
  readonly singleAllowed: boolean;
  readonly literalAllowed: boolean;
}

export function analyze(text: readonly string[]): Analysis {
  if (text.length === 0) {
    return { multiline: false, plainAllowed: true, singleAllowed: true, literalAllowed: false };
  }
  const head = text.slice(0, 3).join('');
  let indicator = head === '---' || head === '...';
  let special = false;
  let tab = false;
  let multiline = false;
  let spaceAfterBreak = false;
  let breakAfterSpace = false;
  let spacedBefore = true;
  text.forEach((c, i) => {
    const spacedAfter = i + 1 >= text.length || isBlank(text[i + 1] ?? end);
    if (i === 0) {
      if (/^[#,[\]{}&*!|>'"%@`]$/.test(c) || (/^[?:-]$/.test(c) && spacedAfter)) indicator = true;
    } else if ((c === ':' && spacedAfter) || (c === '#' && spacedBefore)) {
      indicator = true;
    }
    if (c === '\t') tab = true;
    else if (!isPrintable(c)) special = true;
    const before = text[i - 1] ?? '';
    if (c === ' ' && isBreak(before)) spaceAfterBreak = true;
    if (isBreak(c)) {
      multiline = true;
      if (before === ' ') breakAfterSpace = true;
    }
    spacedBefore = isBlankOrEnd(c);
  });
  const [first = '', last = ''] = [text[0], text.at(-1)];
  const open = first === ' ' || isBreak(first) || last === ' ' || isBreak(last);
  const singleAllowed = !(spaceAfterBreak || breakAfterSpace || tab || special);
  return {
    multiline,
    plainAllowed: singleAllowed && !open && !multiline && !indicator,
    singleAllowed,
    literalAllowed: !special && last !== ' ' && !breakAfterSpace,
  };
}
