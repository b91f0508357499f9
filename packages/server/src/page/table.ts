/**
 * Tables of the page. On a phone their rows become blocks, which is why each element says its role: without, it would
 * be none for a screen reader then.
 */
import { type Html, html } from '@omni-airgap/format';

interface Column {
  readonly name: string;
  readonly kind?: 'number' | 'sum' | 'time';
}

/** @param rows a cell for each column; the first is the row's header */
export function table(caption: string, columns: readonly Column[], rows: readonly (readonly Html[])[]): Html {
  const head = columns.map(
    ({ name, kind = '' }) => html`<th scope="col" role="columnheader" class="${kind}">${name}</th>`,
  );
  const body = rows.map(([first = html``, ...others]) => {
    const cells = others.map(
      (cell, i) => html`<td role="cell" class="${columns[i + 1]?.kind ?? ''}">${cell}</td>`,
    );
    return html`<tr role="row"><th scope="row" role="rowheader">${first}</th>${cells}</tr>`;
  });
  return html`<div class="wide" tabindex="0" role="group" aria-label="${caption}"><table role="table"><caption class="unseen">${caption}</caption><thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">${body}</tbody></table></div>`;
}
