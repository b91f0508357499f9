/** Comments are skipped, but how the library looks for them decides where tabs are let through. */
import { type Cursor, isBlank, isBreak, isBreakOrEnd } from './cursor.ts';

/** Characters the library looks ahead for a comment. */
const commentReach = 512;

/** NEL, LS and PS are none here: the library looks byte by byte. */
const isShortBreak = (c: string): boolean => c === '\n' || c === '\r';

/** Comment lines up to the last one, and white space between them, tabs too. */
export function skipComments(cursor: Cursor): void {
  for (let ahead = 0; ahead < commentReach; ahead++) {
    const c = cursor.peekIfText(ahead);
    if (isBlank(c) || isShortBreak(c)) continue;
    if (c !== '#') return;
    const comment = cursor.index + ahead;
    while (cursor.index < comment) {
      if (isBreak(cursor.peek())) cursor.readLine();
      else cursor.skip();
    }
    while (!isBreakOrEnd(cursor.peek())) cursor.skip();
    if (!isShortBreak(cursor.peek())) return;
    // The next to look at is the second character: a second comment cannot begin at a line break.
    ahead = 0;
  }
}

/** A comment on the line of the token just read; tabs before it are allowed. */
export function skipLineComment(cursor: Cursor): void {
  if (cursor.newlines > 0) return;
  let ahead = 0;
  while (ahead < commentReach && isBlank(cursor.peekIfText(ahead))) ahead++;
  if (ahead === commentReach || cursor.peekIfText(ahead) !== '#') return;
  while (!isBreakOrEnd(cursor.peek())) cursor.skip();
}
