/** What was asked for and is not here, as a section of the page. */

import { type Html, html } from '@omni-airgap/format';
import { describeWish } from '../wishes/wish.ts';
import type { WantsDocument } from '../wishes/wish-list.ts';
import { table } from './table.ts';

const maxShown = 200;

export function wishesSection({ wishes, dropped }: WantsDocument): Html {
  if (wishes.length === 0) {
    return html`<section aria-labelledby="wishes"><h2 id="wishes">Wishes</h2><p>Nothing was asked for that is not here.</p></section>`;
  }
  const rows = wishes.slice(0, maxShown).map((wish) => {
    const secrets = wish.kind === 'schematic' ? wish.secrets : [];
    const flag =
      secrets.length === 0
        ? html``
        : html`<p class="flag"><span class="bad">Holds a secret</span> (${secrets.join('; ')}): its text was not recorded.</p>`;
    return [
      html`<code>${describeWish(wish)}</code>${flag}`,
      html`<span class="phone">asked </span>${wish.count}<span class="phone">×, last&nbsp;</span>`,
      html`<time datetime="${wish.last}">${wish.last.slice(0, 16).replace('T', ' ')}</time>`,
    ];
  });
  const hidden = wishes.length - rows.length + dropped;
  return html`<section aria-labelledby="wishes"><h2 id="wishes">Wishes</h2>
<p>This was asked for and is not here. Carry <a href="/wants.yaml" download="wants.yaml">the list as a part of mirror.yaml</a> out, or run <code>omni-airgap wants --from</code> with the address of this page.</p>
${table('Wishes', [{ name: 'What' }, { name: 'Asked', kind: 'number' }, { name: 'Last (UTC)', kind: 'time' }], rows)}
${hidden > 0 ? html`<p>${hidden} more are not shown.</p>` : html``}</section>`;
}
