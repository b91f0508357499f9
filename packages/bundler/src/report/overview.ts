/** What an approver must know before anything else: who signed, full or incremental, what was verified, where from. */
import { countSigners, type Html, html } from '@omni-airgap/format';
import { formatBytes } from '@omni-airgap/oci/base';
import type { InsideFinding } from '@omni-airgap/talos';
import { changesText, foldedChanges } from './changes.ts';
import { byKind } from './details.ts';
import { bySimilarRepository, type ItemGroup } from './groups.ts';
import { nameHtml, shortIds, shortList, tagOf } from './names.ts';
import type { Summary, SummaryItem } from './summary.ts';

/** Hosts and signers that the first page names. */
const maxHosts = 12;
const maxSigners = 4;
/** Items that a warning names. */
const maxNamed = 5;
const maxWarnings = 10;
/** Rows of the summary for each kind: with the status they fit on two pages of paper. */
const maxRows = 36;

type Tone = 'good' | 'warn' | 'bad' | 'plain';

function badge(tone: Tone, text: string): Html {
  return html`<strong class="badge ${tone}">${text}</strong>`;
}

const row = (label: string, ...content: readonly Html[]): Html =>
  html`<tr><th scope="row">${label}</th><td>${content}</td></tr>`;

/** The table at the top of the page. */
export function statusTable(summary: Summary): Html {
  return html`<table class="status"><tbody>
${signatureRow(summary)}
${typeRow(summary)}
${contentRow(summary)}
${imageSignaturesRow(summary)}
${changesRow(summary)}
${hostsRow(summary)}
${secretsRow(summary)}
${warningsRow(summary)}
${confirmRow(summary)}
</tbody></table>`;
}

function signatureRow({ issuedBy }: Summary): Html {
  if (issuedBy === undefined) {
    return row(
      'Bundle signature',
      badge('bad', 'UNSIGNED'),
      html` <span>Not signed when it was issued (--unsigned). If there is a file bundle.json.sig, it was signed later: check by whom.</span>`,
    );
  }
  return row(
    'Bundle signature',
    badge('good', 'Signed'),
    html` <span>by key <code>${issuedBy}</code>. Compare it with the fingerprint that keygen printed.</span>`,
  );
}

function typeRow({ document, relied, bytes }: Summary): Html {
  const { volumes } = document;
  const size = `${formatBytes(bytes)} in ${volumes.length} ${volumes.length === 1 ? 'volume' : 'volumes'}`;
  const bases = document.base ?? [];
  if (bases.length === 0)
    return row('Type', badge('plain', 'Full'), html` <span>${size}. It needs no other bundle.</span>`);
  const ids = bases.map(({ id, sequence }) => html`<li>sequence number ${sequence}, <code>${id}</code></li>`);
  return row(
    'Type',
    badge('plain', 'Incremental'),
    html` <span>${size}. It needs ${formatBytes(relied.bytes)} that ${bases.length === 1 ? 'this bundle' : 'these bundles'} brought:</span><ul>${ids}</ul>`,
  );
}

const nouns: readonly (readonly [kind: string, one: string, many: string])[] = [
  ['image', 'image', 'images'],
  ['media', 'set of Talos boot assets', 'sets of Talos boot assets'],
  ['schematic', 'schematic', 'schematics'],
  ['catalog', 'catalog', 'catalogs'],
];

function contentRow({ items, versions }: Summary): Html {
  const counts = nouns.flatMap(([kind, one, many]) => {
    const n = items.filter((item) => item.kind === kind).length;
    return n === 0 ? [] : [`${n.toLocaleString('en')} ${n === 1 ? one : many}`];
  });
  const products = versions.map(
    ({ product, versions: all }) => html`<li><strong>${product}</strong> ${shortList(all, 8)}</li>`,
  );
  const list = products.length === 0 ? html`` : html`<ul class="inline">${products}</ul>`;
  return row('Content', html`<span>${counts.length === 0 ? 'Nothing.' : counts.join(', ')}</span>${list}`);
}

function imageSignaturesRow({ items }: Summary): Html {
  const images = items.filter(({ kind }) => kind === 'image');
  if (images.length === 0) return html``;
  const of = (signature: SummaryItem['signature']): number =>
    images.filter((item) => (item.signature ?? 'none') === signature).length;
  const [verified, carried, none] = [of('verified'), of('carried'), of('none')];
  const signers = countSigners(images.map((item) => item.verified));
  const lines = signers
    .slice(0, maxSigners)
    .map(({ signer, images: n }) => html`<li>${n} by <code>${signer}</code></li>`);
  const more = signers.length - lines.length;
  const rest = more > 0 ? html`<li>and ${more} more signers</li>` : html``;
  const list = lines.length === 0 ? html`` : html`<ul>${lines}${rest}</ul>`;
  return row(
    'Image signatures',
    verified === images.length
      ? badge('good', `All ${verified} verified`)
      : badge('warn', `${verified} of ${images.length} verified`),
    html` <span>${carried} with signatures that were not verified, ${none} without signatures.</span>`,
    list,
  );
}

function changesRow({ document: { changes, base }, items }: Summary): Html {
  if (changes === undefined || base === undefined) return html``;
  const text = changesText(foldedChanges(changes, items));
  return row(
    'Changes',
    text === undefined
      ? html`<span>Nothing has changed since the base.</span>`
      : html`<span><a href="#changes">${text}</a>.</span>`,
  );
}

function hostsRow({ document: { egress } }: Summary): Html {
  const hosts = egress.slice(0, maxHosts).map(({ host }) => html`<li><code>${host}</code></li>`);
  const more = egress.length - hosts.length;
  const rest = more > 0 ? html`<li><a href="#hosts">and ${more} more</a></li>` : html``;
  const list = hosts.length === 0 ? html`` : html`<ul class="inline">${hosts}${rest}</ul>`;
  return row(
    egress.length === 0 ? 'Hosts contacted' : `Hosts contacted: ${egress.length}`,
    egress.length === 0 ? html`None on record.` : list,
  );
}

function secretsRow({ document: { secrets } }: Summary): Html {
  if (secrets === undefined) return row('Secrets', badge('warn', 'Not checked'));
  const { found, schematics, policy } = secrets;
  const checked = `${schematics} ${schematics === 1 ? 'schematic' : 'schematics'} checked`;
  if (found.length === 0)
    return row(
      'Secrets',
      badge('good', 'None found'),
      html` <span>${checked}${policy === 'allowed' ? ', with --allow-secrets' : ''}.</span>`,
    );
  const names = found.slice(0, maxNamed).map((name) => html`<li>${nameHtml(name)}</li>`);
  const more = found.length - names.length;
  return row(
    'Secrets',
    badge('bad', `${found.length} with secrets`),
    html` <span>${checked}; carried with --allow-secrets:</span><ul>${names}${more > 0 ? html`<li>and ${more} more</li>` : html``}</ul>`,
  );
}

function warningsRow(summary: Summary): Html {
  const warnings = warningsOf(summary);
  if (warnings.length === 0) return row('Warnings', badge('good', 'None'));
  const lines = warnings.slice(0, maxWarnings).map((warning) => html`<li>${warning}</li>`);
  const more = warnings.length - lines.length;
  return row(
    'Warnings',
    badge('warn', String(warnings.length)),
    html`<ul>${lines}${more > 0 ? html`<li>and ${more} more</li>` : html``}</ul>`,
  );
}

function warningsOf({ document, items, issuedBy, inside }: Summary): readonly Html[] {
  const warnings: Html[] = [];
  if (issuedBy === undefined) warnings.push(html`The bundle is not signed.`);
  const unverified = items.filter(({ kind, signature }) => kind === 'image' && signature !== 'verified');
  if (unverified.length > 0)
    warnings.push(
      html`${unverified.length} ${unverified.length === 1 ? 'image has' : 'images have'} no verified signature.`,
    );
  if ((document.secrets?.found.length ?? 0) > 0) warnings.push(html`Secrets cross the gap.`);
  const moved = document.changes === undefined ? [] : foldedChanges(document.changes, items).moved;
  if (moved.length > 0)
    warnings.push(
      html`${moved.length} ${moved.length === 1 ? 'tag points' : 'tags point'} to other content than before: ${someOf(moved.map(({ name }) => name))}.`,
    );
  const lacking = items.filter(({ missingPlatforms = [] }) => missingPlatforms.length > 0);
  if (lacking.length > 0)
    warnings.push(
      html`${lacking.length} ${lacking.length === 1 ? 'image lacks a platform' : 'images lack platforms'} upstream: ${someOf(lacking.map(({ name }) => name))}.`,
    );
  const alone = items.filter(({ kind, inBase }) => kind === 'signature' && !inBase).length;
  if (alone > 0)
    warnings.push(
      html`${alone} ${alone === 1 ? 'signature or attestation is' : 'signatures or attestations are'} about content that is not carried.`,
    );
  return [...warnings, ...findingsHtml(inside, 'error', 'warning')];
}

function findingsHtml(
  inside: Summary['inside'] = [],
  ...levels: readonly InsideFinding['level'][]
): readonly Html[] {
  return inside
    .filter(({ level }) => levels.includes(level))
    .map(({ message }) => html`${message}${message.endsWith('.') ? '' : '.'}`);
}

/** Facts about the site that nobody has stated. */
function confirmRow({ inside }: Summary): Html {
  const lines = findingsHtml(inside, 'confirm').map((line) => html`<li>${line}</li>`);
  if (lines.length === 0) return html``;
  return row('To confirm for the site', badge('plain', String(lines.length)), html`<ul>${lines}</ul>`);
}

function someOf(names: readonly string[]): readonly Html[] {
  const some = names.slice(0, maxNamed).map((name, i) => html`${i === 0 ? '' : ', '}${nameHtml(name)}`);
  const more = names.length - some.length;
  return more > 0 ? [...some, html` and ${more} more`] : some;
}

/** A row for each repository: what it brings, whether that is signed, and its size. */
export function repositoriesTable({ items }: Summary): Html {
  const groups = byKind(items).map(
    ([title, some]) =>
      html`<tbody><tr><th colspan="4" scope="rowgroup">${title} <span class="count">${some.length}</span></th></tr>
${bySimilarRepository(some, maxRows).map(repositoryRow)}</tbody>`,
  );
  return html`<table class="summary"><thead><tr><th>Repository</th><th>Tags</th><th>Signatures verified</th><th class="number">Carried</th></tr></thead>
${groups}</table>`;
}

function repositoryRow({ title, items, repositories }: ItemGroup): Html {
  const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  const tags =
    repositories > 1
      ? `${items.length} in ${repositories} repositories`
      : rangeOf(items.map(({ name }) => shortIds(tagOf(name))));
  return html`<tr><td><code>${shortIds(title)}</code></td><td data-label="Tags">${tags}</td>
<td data-label="Signatures verified">${verifiedText(items)}</td><td class="number" data-label="Carried">${formatBytes(bytes)}</td></tr>
`;
}

/** Tags that fit on a line, or the first and the last. */
function rangeOf(tags: readonly string[]): string {
  const [first, last] = [tags[0], tags.at(-1)];
  return tags.length <= 3 ? tags.join(', ') : `${first} to ${last} (${tags.length})`;
}

function verifiedText(items: readonly SummaryItem[]): Html {
  const images = items.filter(({ kind }) => kind === 'image');
  if (images.length === 0) return html``;
  const verified = images.filter(({ signature }) => signature === 'verified').length;
  const text =
    verified === images.length ? 'all' : verified === 0 ? 'none' : `${verified} of ${images.length}`;
  return verified === images.length ? html`${text}` : html`<span class="warn">${text}</span>`;
}
