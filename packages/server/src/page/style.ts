/** The page's one style sheet. It lies in the page itself, and the page's policy allows it by its hash alone. */
import { createHash } from 'node:crypto';

export const style = `
:root{color-scheme:light dark;--ink:#1a1d23;--soft:#4f5661;--line:#d5d9e0;--ground:#fff;--panel:#f4f5f8;--link:#0b5394;--bad:#a11212;--good:#0d6832}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#aeb5c0;--line:#3b414c;--ground:#15181d;--panel:#1f242c;--link:#8ec3ff;--bad:#ff9a92;--good:#7fdca4}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
header,main,footer{max-width:70rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.25;margin:1.5rem 0 .25rem}
h2{font-size:1.2rem;margin:2.25rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.25rem 0 .25rem}
p{margin:.4rem 0;max-width:46rem}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-100vw}
.skip:focus{left:1rem;top:.5rem;background:var(--ground);padding:.5rem}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;margin:.75rem 0}
code,pre,textarea{font:.875rem/1.45 ui-monospace,monospace}
code{overflow-wrap:anywhere}
pre{background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.75rem;overflow-x:auto;margin:.5rem 0}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:.5rem .75rem;color:var(--soft)}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem;border-top:1px solid var(--line)}
td.n,th.n{text-align:right;white-space:nowrap}
td.sum code{font-size:.8rem;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
@media (max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
textarea{width:100%;min-height:7rem;padding:.5rem;background:var(--panel);color:var(--ink);border:1px solid var(--soft);border-radius:.4rem}
button{font:inherit;padding:.4rem 1rem;margin:.5rem 0;border:1px solid var(--link);border-radius:.4rem;background:var(--link);color:var(--ground);cursor:pointer}
summary{cursor:pointer;padding:.25rem 0}
.bad{color:var(--bad);font-weight:600}
.good{color:var(--good);font-weight:600}
footer{margin:2.5rem auto 2rem;color:var(--soft);border-top:1px solid var(--line);padding-top:.75rem}
`;

const hash = createHash('sha256').update(style).digest('base64');

/** Nothing is loaded, no script runs, no other page shows this one. */
export const pageHeaders = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
} as const;
