/**
 * report.html: one self-contained page for whoever approves a transfer. It needs no script and loads nothing, prints
 * on paper, and shows names from outside as text only.
 */
import { countSigners, type Html, html, signerText } from '@omni-airgap/format';
import { formatBytes, formatTime } from '@omni-airgap/oci/base';
import { style } from './style.ts';
import type { Summary, SummaryItem } from './summary.ts';

const kindTitles: readonly (readonly [string, string])[] = [
  ['image', 'Images'],
  ['media', 'Talos media'],
  ['schematic', 'Schematics'],
  ['catalog', 'Catalogs'],
  ['signature', 'Signatures and attestations'],
];
const noneOf = html`<p class="none">None.</p>`;

/** The text of the page. */
export function reportPage(summary: Summary): string {
  const { document, items } = summary;
  const titled = new Set(kindTitles.map(([kind]) => kind));
  const others = items.filter((item) => !titled.has(item.kind));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Bundle ${document.id.slice(0, 12)}, number ${document.sequence}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>What crosses the gap</h1>
<p class="id">Bundle <code>${document.id}</code></p>
</header>
<main>
${factsOf(summary)}
${checksOf(summary)}
${changesOf(summary)}
${kindTitles.map(([kind, title]) =>
  itemsOf(
    title,
    items.filter((item) => item.kind === kind),
  ),
)}
${others.length === 0 ? [] : itemsOf('Other content', others)}
${hostsOf(summary)}
${volumesOf(summary)}
<p class="approval">Approved by <span></span> on <span></span> signature <span></span></p>
</main>
<footer><p>Made by ${document.tool}, ${formatTime(document.createdAt)}. bundle.json states the hash of this page, and
bundle.json.sig is the signature of bundle.json. README.txt says how to check and load the bundle.</p></footer>
</body>
</html>
`;
  return page.text;
}

function factsOf({ document, items, bytes, relied, versions }: Summary): Html {
  const images = items.filter((item) => item.kind === 'image').length;
  const media = items.filter((item) => item.kind === 'media').length;
  const base = (document.base ?? []).map(
    (one) => html`<li><code>${one.id}</code> (number ${one.sequence} of store ${one.origin})</li>`,
  );
  return html`<section class="facts">
<dl>
<div><dt>Size</dt><dd>${formatBytes(bytes)}</dd></div>
<div><dt>Volumes</dt><dd>${document.volumes.length}</dd></div>
<div><dt>Images</dt><dd>${images}</dd></div>
<div><dt>Sets of media</dt><dd>${media}</dd></div>
<div><dt>Names in all</dt><dd>${items.length}</dd></div>
<div><dt>Blobs</dt><dd>${document.blobs.length}</dd></div>
</dl>
${versions.length === 0 ? html`` : html`<dl>${versions.map(versionBox)}</dl>`}
<p>Number ${document.sequence} of store <code>${document.origin}</code>, made ${formatTime(document.createdAt)}${
    document.createdBy === undefined ? '' : html` by <strong>${document.createdBy}</strong>`
  } with ${document.tool}.</p>
${
  base.length === 0
    ? html`<p>A full bundle: it needs nothing that is inside already.</p>`
    : html`<p>An incremental bundle. It relies on ${relied.blobs} blobs (${formatBytes(relied.bytes)}) that these brought:</p><ul>${base}</ul>`
}
</section>`;
}

function versionBox({ product, versions }: Summary['versions'][number]): Html {
  return html`<div><dt>${product}</dt><dd>${versions.join(', ')}</dd></div>`;
}

function changesOf({ document, items }: Summary): Html {
  const { changes, base } = document;
  if (changes === undefined || base === undefined) return html``;
  const now = new Map(items.map((item) => [item.name, item.digest]));
  const nothing = changes.added.length + changes.moved.length + changes.removed.length === 0;
  if (nothing)
    return html`<section><h2>Changes against the base</h2><p><strong>Nothing has changed.</strong></p></section>`;
  const list = (title: string, rows: readonly Html[]): Html =>
    rows.length === 0 ? html`` : html`<h3>${title} (${rows.length})</h3><ul class="names">${rows}</ul>`;
  return html`<section><h2>Changes against the base</h2>
${list(
  'Added',
  changes.added.map((name) => html`<li><code>${name}</code></li>`),
)}
${list(
  'Same name, other content',
  changes.moved.map(
    ({ name, from }) =>
      html`<li><code>${name}</code><br><small>${from} → ${now.get(name) ?? ''}</small></li>`,
  ),
)}
${list(
  'No longer carried',
  changes.removed.map((name) => html`<li><code>${name}</code></li>`),
)}
</section>`;
}

function itemsOf(title: string, items: readonly SummaryItem[]): Html {
  if (items.length === 0) return html``;
  return html`<section><h2>${title} <span class="count">${items.length}</span></h2>
<table><thead><tr><th>Name and digest</th><th>Holds</th><th class="number">Carried</th></tr></thead>
<tbody>${items.map(rowOf)}</tbody></table></section>`;
}

function rowOf(item: SummaryItem): Html {
  const files = item.files.map(
    ({ name, size }) => html`<li>${name} <small>${formatBytes(size)}</small></li>`,
  );
  const from = item.source === undefined ? html`` : html`<br><small>${originOf(item)}</small>`;
  return html`<tr><td><code>${item.name}</code><br><small class="digest">${item.digest}</small>${from}</td>
<td>${item.platforms.join(', ')}${missingOf(item)}${files.length === 0 ? html`` : html`<ul class="files">${files}</ul>`}${
    item.inBase ? html`<span class="base">with a base</span>` : html``
  }${item.signature === undefined ? html`` : html`<div><small>${signatureText(item)}</small></div>`}</td>
<td class="number" data-label="Carried">${formatBytes(item.bytes)}</td></tr>
`;
}

function missingOf({ missingPlatforms = [] }: SummaryItem): Html {
  if (missingPlatforms.length === 0) return html``;
  return html`<div><strong>missing upstream: ${missingPlatforms.join(', ')}</strong></div>`;
}

function originOf({ source, fetchedAt, fetchedBy }: SummaryItem): string {
  const when = fetchedAt === undefined ? '' : `, ${formatTime(fetchedAt)}`;
  return `from ${source}${when}${fetchedBy === undefined ? '' : ` by ${fetchedBy}`}`;
}

function signatureText({ signature, verified }: SummaryItem): string {
  if (verified !== undefined) return `signature verified at fetch: by ${signerText(verified)}`;
  return signature === 'carried' ? 'signatures carried, not verified here' : 'no signature';
}

function checksOf({ document, items, issuedBy }: Summary): Html {
  const of = (signature: SummaryItem['signature']): number =>
    items.filter((item) => item.signature === signature).length;
  const signers = countSigners(items.map((item) => item.verified)).map(
    ({ signer, images }) => html`<li>${images} by ${signer}</li>`,
  );
  const { secrets, egress } = document;
  const found = (secrets?.found ?? []).map((name) => html`<li><code>${name}</code></li>`);
  return html`<section><h2>Checks and policy</h2>
<ul>
<li>Signature of this bundle: ${
    issuedBy === undefined
      ? html`<strong>none when it was issued (--unsigned).</strong> If there is a file bundle.json.sig, it was signed later: check by whom.`
      : html`made when it was issued, with key <code>${issuedBy}</code>. Compare with the fingerprint that keygen printed.`
  }</li>
<li>Every blob was compared with its digest when it was fetched.</li>
<li>Signatures of images: ${of('verified')} verified, ${of('carried')} carried but not verified, ${of('none')} without.${signers.length === 0 ? html`` : html`<ul>${signers}</ul>`}</li>
<li>Hosts contacted for it: ${egress.length}, listed below.</li>
<li>Secrets in schematics: ${
    secrets === undefined
      ? 'not looked for.'
      : found.length > 0
        ? html`<strong>${found.length} of ${secrets.schematics} hold secrets, carried with --allow-secrets:</strong><ul>${found}</ul>`
        : `none found. Looked at: ${secrets.schematics}. A bundle with one is ${secrets.policy === 'allowed' ? 'allowed (--allow-secrets)' : 'refused'}.`
  }</li>
</ul></section>`;
}

function hostsOf({ document }: Summary): Html {
  const rows = document.egress.map(
    ({ host, requests, bytes }) =>
      html`<tr><td><code>${host}</code></td><td class="number" data-label="Requests">${requests}</td><td class="number" data-label="Received">${formatBytes(bytes)}</td></tr>`,
  );
  const content =
    rows.length === 0
      ? noneOf
      : html`<table><thead><tr><th>Host</th><th class="number">Requests</th><th class="number">Received</th></tr></thead><tbody>${rows}</tbody></table>`;
  return html`<section><h2>Hosts contacted</h2>${content}</section>`;
}

function volumesOf({ document }: Summary): Html {
  const rows = document.volumes.map(
    ({ name, size, sha256 }) =>
      html`<tr><td><code>${name}</code><br><small class="digest">sha256:${sha256}</small></td><td class="number" data-label="Size">${formatBytes(size)}</td><td class="number" data-label="Bytes">${size.toLocaleString('en')}</td></tr>`,
  );
  return html`<section><h2>Volumes</h2>
<table><thead><tr><th>File and hash</th><th class="number">Size</th><th class="number">Bytes</th></tr></thead><tbody>${rows}</tbody></table></section>`;
}
