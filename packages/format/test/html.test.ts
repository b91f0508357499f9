import { expect, test } from 'vitest';
import { html, htmlLines } from '../src/html.ts';

test('what is put in is text: markup, controls and marks of direction are shown', () => {
  expect(html`<p>${'<b>&"\' \u202e\r\n'}</p>`.text).toBe(
    '<p>&lt;b&gt;&amp;&quot;&#39; \\u202e\\u000d\\u000a</p>',
  );
});

test('lines stay lines, and are text too', () => {
  expect(html`<pre>${htmlLines('a: <b>\n\n  c\r\n')}</pre>`.text).toBe(
    '<pre>a: &lt;b&gt;\n\n  c\\u000d\n</pre>',
  );
});
