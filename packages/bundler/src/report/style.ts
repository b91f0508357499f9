/** How the report page looks, on a screen and on paper. */
import { Html } from '@omni-airgap/format';

export const style: Html = new Html(`
:root {
  color-scheme: light dark;
  --line: #d0d7de; --soft: #57606a; --mark: #0b5cad; --panel: #f6f8fa;
  --good: #116329; --good-back: #dafbe1; --warn: #7d4e00; --warn-back: #fff1c9; --bad: #a40e26; --bad-back: #ffe2e0;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --line: #3d444d; --soft: #9198a1; --mark: #6cb6ff; --panel: #1b2027;
    --good: #7ee2a0; --good-back: #10341d; --warn: #f2cc60; --warn-back: #3b2e05; --bad: #ffa198; --bad-back: #4c1417;
  }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; overflow-wrap: anywhere; padding: 1.5rem; }
header { border-bottom: 3px solid var(--mark); margin-bottom: 1rem; padding-bottom: .6rem; }
header p { color: var(--soft); margin: 0; }
h1 { font-size: 1.6rem; line-height: 1.3; margin: .1rem 0; }
h2 { border-bottom: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
a { color: var(--mark); }
code, .digest { font-family: ui-monospace, monospace; }
code { font-size: .9em; }
code .tag { font-weight: 600; }
.tag { display: inline-block; font-weight: 600; max-width: 100%; }
small, .count, .origin, .hint { color: var(--soft); }
.count { font-weight: normal; }
.origin, .hint { font-size: .85rem; margin: .3rem 0; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; }
th { color: var(--soft); font-size: .8rem; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .5rem; vertical-align: top; }
ul { margin: .1rem 0 0; padding-left: 1.2rem; }
.inline { display: flex; flex-wrap: wrap; gap: 0 1.2rem; list-style: none; padding: 0; }
.files { list-style: none; padding: 0; }
.files small { white-space: nowrap; }
.status { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; border-collapse: separate; border-spacing: 0; }
.status tr:last-child > * { border-bottom: 0; }
.status th { font-size: .9rem; width: 10rem; }
.badge { border-radius: .3rem; display: inline-block; margin-right: .3rem; padding: 0 .5rem; print-color-adjust: exact; }
.good { background: var(--good-back); color: var(--good); }
.badge.warn { background: var(--warn-back); }
.warn { color: var(--warn); }
.bad { background: var(--bad-back); border: 1px solid; color: var(--bad); }
.plain { border: 1px solid var(--line); }
.summary tbody th { background: var(--panel); color: inherit; font-size: .9rem; }
.summary th:nth-child(2), .items th:nth-child(2) { width: 30%; }
.summary th:nth-child(3) { width: 10rem; }
.summary th:nth-child(4), .items th:nth-child(3) { width: 6.5rem; }
.numbers th:nth-child(2) { width: 7rem; }
.numbers th:nth-child(3) { width: 9rem; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .35rem .7rem; }
summary { cursor: pointer; }
summary h2 { border: 0; display: inline; margin: 0; }
.details { margin-top: 2rem; }
.approval { display: none; }
footer { border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; margin-top: 2rem; }
@media screen and (max-width: 44rem) {
  body { padding: 1rem; }
  h1 { font-size: 1.3rem; }
  table, tbody, tr, td, th { display: block; }
  thead { display: none; }
  .status th, .summary tbody th { width: auto; }
  tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  .status tr { padding: .35rem .6rem; }
  .status tr:last-child { border-bottom: 0; }
  th, td { border: 0; padding: .1rem 0; }
  .summary tbody th { padding: .1rem .4rem; }
  td[data-label]:empty { display: none; }
  .number { text-align: left; }
  td[data-label]::before { color: var(--soft); content: attr(data-label) ": "; }
}
@page { margin: 14mm 12mm; }
@media print {
  html { font-size: 9pt; }
  body { font-size: 1rem; line-height: 1.35; max-width: none; padding: 0; }
  th, td { padding: .15rem .4rem; }
  .summary { font-size: .95rem; }
  tr, li, .approval { break-inside: avoid; }
  thead { display: table-header-group; }
  h2, h3, summary, .origin, .summary tbody tr:first-child { break-after: avoid; }
  .approval { border-top: 1px solid var(--line); display: block; margin-top: 1.5rem; }
  .approval span { border-bottom: 1px solid; display: inline-block; margin: 2rem .5rem 0 .2rem; width: 8.5rem; }
  .digest { font-size: .75rem; }
  .details { break-before: page; font-size: .9rem; }
  details { border: 0; margin: .3rem 0; padding: 0; }
  .part { margin-top: 1.5rem; }
  summary { list-style: none; }
  /* What is folded on the screen is printed. */
  ::details-content { block-size: auto; content-visibility: visible; }
}
`);
