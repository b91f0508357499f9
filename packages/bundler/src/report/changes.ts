/** What an increment changes, with the names of signatures and the like folded into the images they are about. */
import { type BundleDocument, type Html, html } from '@omni-airgap/format';
import { isCompanionName } from './attachments.ts';
import { part } from './details.ts';
import { nameHtml } from './names.ts';
import type { Summary, SummaryItem } from './summary.ts';
import { droppedNames, droppedText } from './versions.ts';

type Changes = NonNullable<BundleDocument['changes']>;

export interface FoldedChanges extends Changes {
  /** Images whose name stands for what it stood for, and that come with other signatures, attestations or SBOMs. */
  readonly attached: readonly string[];
}

/** @param items as in the summary of the same bundle */
export function foldedChanges(
  { added, moved, removed }: Changes,
  items: readonly SummaryItem[],
): FoldedChanges {
  const folded = new Set(items.flatMap(({ companions }) => companions));
  const isOwn = (name: string): boolean => !folded.has(name);
  const changed = new Set([...added, ...moved.map(({ name }) => name)]);
  const attached = items.filter(
    ({ name, companions }) => !changed.has(name) && companions.some((companion) => changed.has(companion)),
  );
  return {
    added: added.filter(isOwn),
    moved: moved.filter(({ name }) => isOwn(name)),
    // Of what is gone only the tag says that it was about something.
    removed: removed.filter((name) => !isCompanionName(name)),
    attached: attached.map(({ name }) => name),
  };
}

/** `12 added, 3 with other content, 1 no longer carried`; undefined when nothing has changed. */
export function changesText({ added, moved, removed, attached }: FoldedChanges): string | undefined {
  const parts = [
    [added.length, 'added'],
    [moved.length, 'with other content'],
    [removed.length, 'no longer carried'],
    [attached.length, 'with other signatures or attestations'],
  ] as const;
  const some = parts.filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`);
  return some.length === 0 ? undefined : some.join(', ');
}

/** All names that have changed; empty for a full bundle. */
export function changesPart({ document, items }: Summary): Html {
  if (document.changes === undefined || document.base === undefined) return html``;
  const changes = foldedChanges(document.changes, items);
  const text = changesText(changes);
  const now = new Map(items.map((item) => [item.name, item.digest]));
  if (text === undefined) return html``;
  const list = (title: string, rows: readonly Html[]): Html =>
    rows.length === 0 ? html`` : html`<h3>${title} (${rows.length})</h3><ul class="names">${rows}</ul>`;
  const namesOf = (names: readonly string[]): Html[] => names.map((name) => html`<li>${nameHtml(name)}</li>`);
  const dropped = droppedNames(
    document.changes,
    document.roots.map(({ name }) => name),
  );
  // Other names stand in the list alone.
  const needed = dropped === undefined ? [] : droppedText({ ...dropped, others: [] });
  const lists = html`${needed.map((line) => html`<p>${line}.</p>`)}
${list(
  'Same name, other content',
  changes.moved.map(
    ({ name, from }) =>
      html`<li>${nameHtml(name)}<br><small class="digest">from ${from}<br>to ${now.get(name) ?? ''}</small></li>`,
  ),
)}
${list('Added', namesOf(changes.added))}
${list('No longer carried', namesOf(changes.removed))}
${list('Other signatures or attestations', namesOf(changes.attached))}`;
  return part('Changes against the base', text, lists, 'changes');
}

/** Names of earlier bundles that this one withdraws; empty for most bundles. */
export function withdrawnPart({ document: { withdraws = [] } }: Summary): Html {
  if (withdraws.length === 0) return html``;
  const rows = withdraws.map((name) => html`<li>${nameHtml(name)}</li>`);
  return part(
    'Withdrawn names',
    `${withdraws.length} of earlier bundles`,
    html`<p>With this bundle, serve does not serve these names from earlier bundles of this store, and prune does not keep them. load deletes nothing. Versions of omni-airgap that do not support withdrawals refuse this bundle: update the program inside first.</p><ul class="names">${rows}</ul>`,
  );
}
