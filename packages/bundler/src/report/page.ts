/**
 * report.html: one self-contained page for whoever approves a transfer. What decides comes first and fits on two pages of
 * paper; the rest is folded. It needs no script and loads nothing, and shows names from outside as text only.
 */
import { type Html, html } from '@omni-airgap/format';
import { formatTime } from '@omni-airgap/oci/base';
import { changesPart, withdrawnPart } from './changes.ts';
import { checksPart, hostsPart, itemParts, volumesPart } from './details.ts';
import { repositoriesTable, statusTable } from './overview.ts';
import { style } from './style.ts';
import type { Summary } from './summary.ts';

/** The text of the page. */
export function reportPage(summary: Summary): string {
  const { document, items, issuedBy } = summary;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Bundle ${document.id.slice(0, 12)}, sequence number ${document.sequence}</title>
<style>${style}</style>
</head>
<body>
<header>
<p>Transfer across the air gap, for approval</p>
<h1>Bundle ${document.id.slice(0, 12)}, sequence number ${document.sequence}</h1>
<p>${originOf(summary)}</p>
</header>
<main>
<section>${statusTable(summary)}
<p class="hint">${proofOf(issuedBy)}</p></section>
<section><h2>Summary</h2>
${repositoriesTable(summary)}</section>
<p class="approval">Bundle ${document.id.slice(0, 12)} approved by <span></span> on <span></span> signature <span></span></p>
<div class="details">
${changesPart(summary)}
${withdrawnPart(summary)}
${itemParts(items)}
${hostsPart(summary)}
${volumesPart(summary)}
${checksPart(summary)}
</div>
</main>
<footer><p>Id <code>${document.id}</code>, store <code>${document.origin}</code>. README.txt describes how to check and
load the bundle; bom.cdx.json is a CycloneDX inventory of its images and boot assets, not of the packages in them.</p></footer>
</body>
</html>
`;
  return page.text;
}

function originOf({ document: { createdAt, createdBy, tool } }: Summary): Html {
  return html`Made ${formatTime(createdAt)}${createdBy === undefined ? '' : html` by ${createdBy}`} with ${tool}`;
}

/** A page can state anything: what makes it evidence. */
function proofOf(signer: string | undefined): Html {
  return signer === undefined
    ? html`Anyone can have made or changed this page.`
    : html`This page proves nothing by itself. Once <code>omni-airgap verify --bundle DIR --verify-key KEY.pub</code>
succeeds with the key named above, it is what the signer wrote.`;
}
