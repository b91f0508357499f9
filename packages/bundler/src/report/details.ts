/** The folded parts of the page: every name with its digest, hosts, volumes, and what was checked. */
import { countSigners, type Html, html, isProgramFile, signerText } from '@omni-airgap/format';
import { formatBytes, formatTime } from '@omni-airgap/oci/base';
import { attachmentsText } from './attachments.ts';
import { byRepository, type ItemGroup } from './groups.ts';
import { nameHtml, shortList, tagOf } from './names.ts';
import type { Summary, SummaryItem } from './summary.ts';

/** Titles of the kinds, in the order of the page. What has none stands at the end. */
const kindTitles: ReadonlyMap<string, string> = new Map([
  ['image', 'Images'],
  ['media', 'Talos boot assets'],
  ['schematic', 'Schematics'],
  ['catalog', 'Catalogs'],
  ['signature', 'Signatures and attestations of content that is not here'],
]);

/** Items by kind, in the order of the page. */
export function byKind(
  items: readonly SummaryItem[],
): readonly (readonly [title: string, items: readonly SummaryItem[]])[] {
  const titles = [...kindTitles].map(([kind, title]): [string, readonly SummaryItem[]] => [
    title,
    items.filter((item) => item.kind === kind),
  ]);
  const others = items.filter(({ kind }) => !kindTitles.has(kind));
  return [...titles, ['Other content', others] as const].filter(([, some]) => some.length > 0);
}

/** A folded part of the page. @param id what links lead to */
export function part(title: string, remark: string, content: Html | readonly Html[], id = ''): Html {
  const attribute = id === '' ? html`` : html` id="${id}"`;
  return html`<details class="part"${attribute}><summary><h2>${title}</h2> <small>${remark}</small></summary>
${content}</details>
`;
}

/** A part for each kind, and in it a folded group for each repository. */
export function itemParts(items: readonly SummaryItem[]): readonly Html[] {
  return byKind(items).map(([title, some]) => {
    const groups = byRepository(some);
    const [first, ...more] = groups;
    if (first !== undefined && more.length === 0)
      return part(title, `${some.length}, ${first.title}`, tableOf(first));
    return part(title, `${some.length} in ${groups.length} repositories`, groups.map(groupOf));
  });
}

function groupOf(group: ItemGroup): Html {
  const tags = shortList(
    group.items.map(({ name }) => tagOf(name)),
    3,
  );
  return html`<details><summary><code>${group.title}</code> <small>${tags}</small></summary>
${tableOf(group)}</details>
`;
}

function tableOf({ items }: ItemGroup): Html {
  const signers = countSigners(items.map(({ verified }) => verified));
  const [only] = signers.length === 1 ? signers : [];
  return html`${originOf(items)}${only === undefined ? html`` : html`<p class="origin">Signatures verified are by ${only.signer}.</p>`}
<table class="items"><thead><tr><th>Tag and digest</th><th>Holds</th><th class="number">Carried</th></tr></thead>
<tbody>${items.map((item) => rowOf(item, only === undefined))}</tbody></table>`;
}

/** Said once for all: most of a repository comes from one place, on one day, by one account. */
function originOf(items: readonly SummaryItem[]): Html {
  const distinct = (values: readonly (string | undefined)[]): string[] =>
    [...new Set(values.filter((value) => value !== undefined))].sort();
  const sources = distinct(items.map(({ source }) => source));
  if (sources.length === 0) return html``;
  const times = distinct(items.map(({ fetchedAt }) => fetchedAt));
  const [first, last] = [times[0], times.at(-1)];
  const when =
    first === undefined || last === undefined
      ? ''
      : `, ${formatTime(first)}${first === last ? '' : ` to ${formatTime(last)}`}`;
  const accounts = distinct(items.map(({ fetchedBy }) => fetchedBy));
  const by = accounts.length === 0 ? '' : ` by ${shortList(accounts, 3)}`;
  return html`<p class="origin">Fetched from ${shortList(sources, 3)}${when}${by}.</p>`;
}

/** @param withSigner whether it is not said for the whole group */
function rowOf(item: SummaryItem, withSigner: boolean): Html {
  const { name, digest, platforms, attachments, missingPlatforms = [], inBase, bytes } = item;
  const line = (content: Html): Html => html`<div>${content}</div>`;
  const files = item.files.map(
    (file) => html`<li>${file.name} <small>${formatBytes(file.size)}</small></li>`,
  );
  const lines = [
    ...(platforms.length === 0 ? [] : [line(html`${platforms.join(', ')}`)]),
    ...(missingPlatforms.length === 0
      ? []
      : [line(html`<strong>missing upstream: ${missingPlatforms.join(', ')}</strong>`)]),
    ...(files.length === 0 ? [] : [html`<ul class="files">${files}</ul>`]),
    ...(item.signature === undefined ? [] : [line(signatureOf(item, withSigner))]),
    ...(attachments.length === 0
      ? []
      : [line(html`<small>Carried with it: ${attachmentsText(attachments)}</small>`)]),
    ...(inBase ? [line(html`<span class="badge plain">with a base</span>`)] : []),
  ];
  return html`<tr><td><code class="tag">${tagOf(name)}</code><br><small class="digest">${digest}</small></td>
<td>${lines}</td><td class="number" data-label="Carried">${formatBytes(bytes)}</td></tr>
`;
}

function signatureOf({ signature, verified }: SummaryItem, withSigner: boolean): Html {
  if (verified !== undefined)
    return html`<small>Signature verified${withSigner ? ` by ${signerText(verified)}` : ''}</small>`;
  return signature === 'carried'
    ? html`<small class="warn">Signature not verified</small>`
    : html`<small class="warn">No signature</small>`;
}

/** How the content was checked on its way, for whoever audits that. */
export function checksPart({ document: { secrets, files }, items }: Summary): Html {
  const signers = countSigners(items.map(({ verified }) => verified)).map(
    ({ signer, images }) => html`<li>${images} by ${signer}</li>`,
  );
  const programs = files.flatMap(({ name, sha256 }) =>
    isProgramFile(name) ? [html`<li>${name} <small class="digest">sha256:${sha256}</small></li>`] : [],
  );
  const found = (secrets?.found ?? []).map((name) => html`<li>${nameHtml(name)}</li>`);
  return part(
    'Checks',
    'digests, signers, secrets',
    html`<ul>
${programs.length === 0 ? html`` : html`<li>Executables of omni-airgap itself, carried to be run inside: <ul>${programs}</ul></li>\n`}<li>Every blob was compared with its digest when it was fetched.</li>
<li>Signatures that were verified when their images were fetched: ${signers.length === 0 ? 'none.' : html`<ul>${signers}</ul>`}</li>
<li>Schematics with secrets: ${found.length === 0 ? 'none found.' : html`<ul>${found}</ul>`}</li>
</ul>`,
  );
}

/** Who was contacted to gather the content. */
export function hostsPart({ document: { egress } }: Summary): Html {
  const rows = egress.map(
    ({ host, requests, bytes }) =>
      html`<tr><td><code>${host}</code></td><td class="number" data-label="Requests">${requests}</td><td class="number" data-label="Received">${formatBytes(bytes)}</td></tr>`,
  );
  const table = html`<table class="numbers"><thead><tr><th>Host</th><th class="number">Requests</th><th class="number">Received</th></tr></thead><tbody>${rows}</tbody></table>`;
  return part('Hosts contacted', String(rows.length), rows.length === 0 ? html`` : table, 'hosts');
}

/** The files on the media. */
export function volumesPart({ document: { volumes } }: Summary): Html {
  const rows = volumes.map(
    ({ name, size, sha256 }) =>
      html`<tr><td><code>${name}</code><br><small class="digest">sha256:${sha256}</small></td><td class="number" data-label="Size">${formatBytes(size)}</td><td class="number" data-label="Bytes">${size.toLocaleString('en')}</td></tr>`,
  );
  return part(
    'Volumes',
    String(rows.length),
    html`<table class="numbers"><thead><tr><th>File and hash</th><th class="number">Size</th><th class="number">Bytes</th></tr></thead><tbody>${rows}</tbody></table>`,
  );
}
