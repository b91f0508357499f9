/** HTML from templates: what is put in is escaped, unless it is HTML from here. */
import { printable } from '@omni-airgap/oci/base';

export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Marks of direction and controls become visible, markup becomes text. */
function escaped(text: string): string {
  return printable(text, 4096).replace(/[&<>"']/g, (c) => entities[c] ?? c);
}

export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  let text = parts[0] ?? '';
  for (const [i, value] of values.entries()) {
    const inner =
      value instanceof Html
        ? value.text
        : typeof value === 'string' || typeof value === 'number'
          ? escaped(String(value))
          : value.map((one) => one.text).join('');
    text += inner + (parts[i + 1] ?? '');
  }
  return new Html(text);
}

/** Text whose lines stay lines, for `pre` and `textarea`; put in as it is, breaks would show as `\u000a`. */
export function htmlLines(text: string): Html {
  return new Html(text.split('\n').map(escaped).join('\n'));
}
