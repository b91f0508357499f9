/** Names on the report page: split into repository and tag, shown so that a version stays in one piece. */
import { type Html, html } from '@omni-airgap/format';

/** Where the tag or digest of a name begins; names come from a document, and may be any text. */
function endOfRepository(name: string): number {
  const at = name.indexOf('@');
  const end = at < 0 ? name.length : at;
  const colon = name.lastIndexOf(':', end);
  return colon > name.lastIndexOf('/', end) ? colon : end;
}

/** `ghcr.io/siderolabs/omni` for `ghcr.io/siderolabs/omni:v1.10.4`. */
export function repositoryIn(name: string): string {
  return name.slice(0, endOfRepository(name));
}

/** What stands behind the repository: `v1.10.4`, `sha256:…`. */
export function tagOf(name: string): string {
  return name.slice(endOfRepository(name) + 1);
}

/** A name, which may be broken before its tag or digest. */
export function nameHtml(name: string): Html {
  const end = endOfRepository(name);
  return html`<code>${name.slice(0, end)}<wbr><span class="tag">${name.slice(end)}</span></code>`;
}

/** `a, b and 3 more` */
export function shortList(texts: readonly string[], most: number): string {
  const more = texts.length - most;
  return more > 0 ? `${texts.slice(0, most).join(', ')} and ${more} more` : texts.join(', ');
}

/** With the digits of a schematic ID or digest cut: 12 are enough to tell one from another. */
export function shortIds(text: string): string {
  return text.replace(/\b([a-f0-9]{12})[a-f0-9]{52}\b/g, '$1…');
}
