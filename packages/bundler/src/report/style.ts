/** How the report page looks, on a screen and on paper. */
import { Html } from '@omni-airgap/format';

export const style: Html = new Html(`
:root { color-scheme: light dark; --line: #d0d7de; --soft: #57606a; --mark: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #9198a1; --mark: #6cb6ff; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; overflow-wrap: anywhere; padding: 1.5rem; }
header { border-bottom: 3px solid var(--mark); margin-bottom: 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { border-bottom: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
code, .digest { font-family: ui-monospace, monospace; }
code { font-size: .9em; }
small { color: var(--soft); }
.count { color: var(--soft); font-weight: normal; }
.facts dl { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1rem; }
.facts dl div { border: 1px solid var(--line); border-radius: .4rem; min-width: 6.5rem; padding: .4rem .8rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { font-size: 1.2rem; font-variant-numeric: tabular-nums; margin: 0; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; }
th:nth-child(2) { width: 28%; }
th:nth-child(3) { width: 6.5rem; }
th { color: var(--soft); font-size: .8rem; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .5rem; vertical-align: top; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
.files { list-style: none; margin: 0; padding: 0; }
.files small { white-space: nowrap; }
.base { border: 1px solid var(--line); border-radius: 1rem; color: var(--soft); font-size: .75rem; padding: 0 .5rem; }
@media screen and (max-width: 44rem) {
  body { padding: 1rem; }
  table, tbody, tr, td { display: block; }
  thead { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  td { border: 0; padding: .1rem 0; }
  .number { text-align: left; }
  .number::before { color: var(--soft); content: attr(data-label) " "; }
}
.approval { display: none; }
footer { border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; margin-top: 2rem; }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  tr, dl div, li { break-inside: avoid; }
  thead { display: table-header-group; }
  h2, h3 { break-after: avoid; }
  .approval { border-top: 1px solid var(--line); break-inside: avoid; display: block; margin-top: 3rem; padding-top: 1rem; }
  .approval span { border-bottom: 1px solid; display: inline-block; margin: 2rem 1rem 0 .3rem; width: 11rem; }
}
`);
