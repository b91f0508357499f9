/** The page's one style sheet. It lies in the page itself, and the page's policy allows it by its hash alone. */
import { createHash } from 'node:crypto';
import { scriptHash } from './script.ts';

export const style = `
:root{color-scheme:light dark;--ink:#1a1d23;--soft:#4f5661;--line:#d8dce3;--ground:#f3f5f8;--card:#fff;--panel:#f3f5f8;--link:#0b5394;--on-link:#fff;--bad:#a11212;--good:#0d6832}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#aeb5c0;--line:#343b46;--ground:#101318;--card:#191d24;--panel:#12161b;--link:#8ec3ff;--on-link:#101318;--bad:#ff9a92;--good:#7fdca4}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,sans-serif}
header{background:var(--card);border-bottom:1px solid var(--line);padding:1.75rem 0 1rem}
header>*,main,footer{max-width:72rem;margin-inline:auto;padding-inline:1.25rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 auto .35rem;letter-spacing:-.01em;overflow-wrap:anywhere}
header p{color:var(--soft);margin:0 auto;max-width:72rem}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 .75rem}
h3{font-size:1rem;margin:1.5rem 0 .25rem}
h2+h3{margin-top:0}
p{margin:.4rem 0;max-width:48rem}
a{color:var(--link);text-underline-offset:.15em}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-100vw}
.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.5rem 1rem;border-radius:.4rem;z-index:1}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.phone{display:none}
nav{margin-top:1rem}
nav ul{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;margin:0}
nav a{display:block;padding:.25rem .8rem;border:1px solid var(--line);border-radius:2rem;text-decoration:none}
nav a:hover{border-color:var(--link);text-decoration:underline}
section{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.25rem 1.5rem 1.5rem;margin:1.25rem 0}
code,pre,textarea{font:.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem;overflow-x:auto;margin:.5rem 0}
pre code{overflow-wrap:normal}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:.5rem;margin:.6rem 0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:baseline;padding:.45rem 1rem}
tbody tr{border-top:1px solid var(--line)}
thead th{color:var(--soft);font-size:.875rem;font-weight:600;background:var(--panel)}
tbody th{font-weight:500}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.sum code{font-size:.8rem;white-space:nowrap}
.time{white-space:nowrap}
.soft{color:var(--soft)}
.flag{margin:.15rem 0 0}
#search{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin-top:1rem}
#search label{font-weight:600}
#search input{flex:1 1 14rem;max-width:32rem;font:inherit;padding:.4rem .75rem;background:var(--panel);color:var(--ink);border:1px solid var(--soft);border-radius:.5rem}
#search button{margin:0}
#found:empty{display:none}
.warning{border-color:var(--bad)}
.repositories{list-style:none;padding:0;margin:.5rem 0}
.repositories>li{padding:.6rem 0;border-top:1px solid var(--line)}
.repositories>li:first-child{border-top:0}
.tags{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem .9rem;padding:0;margin:.2rem 0 0;color:var(--soft)}
.tags li{overflow-wrap:anywhere}
.places{list-style:none;padding:0;margin:.5rem 0;display:grid;gap:.35rem}
.places li{background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.3rem .75rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.5rem;margin:0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
textarea{width:100%;min-height:8rem;padding:.6rem .75rem;background:var(--panel);color:var(--ink);border:1px solid var(--soft);border-radius:.5rem;resize:vertical}
button{font:inherit;font-weight:600;padding:.45rem 1.25rem;margin:.6rem 0 0;border:0;border-radius:.5rem;background:var(--link);color:var(--on-link);cursor:pointer}
button:hover{text-decoration:underline}
summary{cursor:pointer;padding:.25rem 0}
.bad,.good{font-weight:600}
.bad{color:var(--bad)}
.good{color:var(--good)}
footer{margin-block:2rem;color:var(--soft);font-size:.875rem}
@media (max-width:44rem){
header>*,main,footer{padding-inline:1rem}
main{padding-inline:.5rem}
section{padding:1rem}
h1{font-size:1.4rem}
dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:.6rem}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,tbody th,td{display:block}
tbody tr{padding:.5rem .75rem}
tbody tr:first-child{border-top:0}
tbody th,td{padding:0}
td{color:var(--soft)}
td.number,td.time{display:inline;text-align:left}
.sum code{white-space:normal}
.phone{display:inline}
}
@media print{section{break-inside:avoid}nav,form,#search{display:none}}
`;

const hash = createHash('sha256').update(style).digest('base64');

/**
 * No script runs but ours, which asks this server alone; no other page shows this one. `data:` is the page's empty icon,
 * which keeps browsers from asking for /favicon.ico.
 */
export const pageHeaders = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; img-src data:; style-src 'sha256-${hash}'; script-src 'sha256-${scriptHash}'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
} as const;
