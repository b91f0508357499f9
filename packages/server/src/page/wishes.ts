/** What was asked for and is not here, as a section of the page. */

import { type Html, html } from '@omni-airgap/content';
import { describeWish } from '../wishes/wish.ts';
import type { WantsDocument } from '../wishes/wish-list.ts';

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
        : html`<br><span class="bad">Holds a secret</span> (${secrets.join('; ')}): its text was not recorded.`;
    return html`<tr><th scope="row"><code>${describeWish(wish)}</code>${flag}</th><td class="n">${wish.count}</td><td><time datetime="${wish.last}">${wish.last.slice(0, 16).replace('T', ' ')}</time></td></tr>`;
  });
  const hidden = wishes.length - rows.length + dropped;
  return html`<section aria-labelledby="wishes"><h2 id="wishes">Wishes</h2>
<p>This was asked for and is not here. Carry <a href="/wants.yaml" download="wants.yaml">the list as a part of mirror.yaml</a> out, or run <code>omni-airgap wants --from</code> with the address of this page.</p>
<div class="wide" tabindex="0" role="group" aria-label="Wishes"><table><caption>Wishes, ${wishes.length} in all; times are UTC</caption><thead><tr><th scope="col">What</th><th scope="col" class="n">Asked</th><th scope="col">Last</th></tr></thead><tbody>${rows}</tbody></table></div>
${hidden > 0 ? html`<p>${hidden} more are not shown.</p>` : html``}</section>`;
}
