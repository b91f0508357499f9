/** The page at `/`: what this server holds, how to use it, what is missing. It needs neither internet nor script: see script.ts. */

import { Html, html, htmlLines } from '@omni-airgap/format';
import { isCoded } from '@omni-airgap/oci/base';
import { collect } from '@omni-airgap/oci/model';
import { isSchematicId, TalosError } from '@omni-airgap/talos';
import type { Provenance } from '../bundles.ts';
import { failed, json, plainText } from '../factory/answer.ts';
import type { Holdings } from '../factory/holdings.ts';
import type { Schematics } from '../factory/schematics.ts';
import { type Condition, type HealthContext, healthOf } from '../health.ts';
import type { Answer, Request, RouteGroup } from '../http/message.ts';
import { publicText, schematicsWithoutText, wantsFragment } from '../wishes/fragment.ts';
import { wantsFile } from '../wishes/wish-list.ts';
import type { Wishes } from '../wishes/wishes.ts';
import { type Contents, contentsOf, countOf, maxQueryLength, search } from './contents.ts';
import type { ImageIndex } from './image-index.ts';
import { script } from './script.ts';
import {
  aboutSection,
  emptySection,
  imagesSection,
  installerSection,
  mediaSection,
  resultsSection,
  setupSection,
  talosctlSection,
  warningSection,
  wishesSection,
} from './sections.ts';
import { pageHeaders, style } from './style.ts';

export interface PageContext extends HealthContext {
  readonly index: ImageIndex;
  readonly holdings: Holdings;
  readonly schematics: Schematics;
  readonly wishes: Wishes;
  /** Names of bundles that are not the newest of their store. */
  readonly olderNames: ReadonlyMap<string, Provenance>;
  /** It takes pushes. */
  readonly isWritable: boolean;
  /** What the operator should know about who can reach this server. */
  readonly warnings: () => readonly string[];
  readonly externalUrl: (request: Request) => string;
}

/** Ours, and hashed as they are. */
const trustedStyle = new Html(style);
const trustedScript = new Html(script);
const maxFormBytes = 256 * 1024;

export function pageRoutes(context: PageContext): RouteGroup {
  const { wishes } = context;
  return {
    match: ([path, ...more]) => {
      if (more.length > 0) return undefined;
      switch (path) {
        case '':
          return { GET: async (request) => page(context, request, html``) };
        case 'lookup':
          return { POST: (request) => lookUp(context, request) };
        case wantsFile:
          return { GET: async ({ signal }) => json(200, await wishes.document(signal)) };
        case 'wants.yaml':
          return {
            GET: async (request) => ({
              status: 200,
              headers: { 'Content-Type': 'application/yaml; charset=utf-8', 'Cache-Control': 'no-store' },
              body: await fragment(context, request),
            }),
          };
        default:
          return undefined;
      }
    },
    routeOf: ([path]) => (path === '' || path === 'lookup' ? 'page' : 'wishes'),
    methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
    failed,
  };
}

async function fragment(context: PageContext, request: Request): Promise<string> {
  const { wishes, schematics, externalUrl } = context;
  const document = await wishes.document(request.signal);
  const texts = new Map<string, string>();
  for (const id of schematicsWithoutText(document)) {
    const text = await schematics.text(id, request.signal);
    const known = text === undefined ? undefined : publicText(id, text);
    if (known !== undefined) texts.set(id, known);
  }
  return wantsFragment(document, { server: externalUrl(request), texts });
}

async function lookUp(context: PageContext, request: Request): Promise<Answer> {
  let body: Uint8Array;
  try {
    body = await collect(request.body, maxFormBytes, 'form');
  } catch (error) {
    if (!isCoded(error, 'BAD_DOCUMENT')) throw error;
    return plainText(413, `a form may have ${maxFormBytes} bytes`);
  }
  const field = new URLSearchParams(Buffer.from(body).toString('utf8')).get('schematic') ?? '';
  // Browsers send the lines of a form with CR LF.
  const text = field.replaceAll('\r\n', '\n').trim();
  return page(context, request, await verdictOn(context, text, request), text);
}

async function verdictOn(
  { holdings, schematics }: PageContext,
  text: string,
  { signal }: Request,
): Promise<Html> {
  const line = (words: Html): Html => html`<p role="status">${words}</p>`;
  const held = async (asked: string): Promise<Html> => {
    const id = await schematics.carriedAs(asked, signal);
    if (!(await holdings.hasSchematic(id, signal))) {
      return line(
        html`<span class="bad">Not carried:</span> schematic <code>${id}</code>. Nothing was recorded; asking for its media records a wish.`,
      );
    }
    const versions = [
      ...new Set([
        ...(await holdings.media(signal)).filter((one) => one.schematic === id).map(({ version }) => version),
        ...(await holdings.installers(signal))
          .filter((one) => one.schematic === id)
          .flatMap((one) => one.versions),
      ]),
    ];
    const canonical = await schematics.text(id, signal);
    const spelled = await schematics.spelled(id, signal);
    const others =
      spelled.length < 2
        ? html``
        : html`<p>Its ID by release of the Image Factory: ${spelled.map((one) => html`<br><code>${one.id}</code> ${one.factories.join(', ')}`)}</p>`;
    return html`${line(html`<span class="good">Carried:</span> schematic <code>${id}</code>, ${versions.length === 0 ? 'without builds' : `with builds of ${versions.join(', ')}`}.`)}${canonical === undefined ? html`` : html`<p><a href="/schematics/${id}">Its canonical text</a></p>`}${others}`;
  };
  if (text === '') return line(html`Paste a schematic or its ID first.`);
  if (isSchematicId(text)) return held(text);
  try {
    return await held((await schematics.identify(text, signal)).id);
  } catch (error) {
    if (!(error instanceof TalosError)) throw error;
    return line(html`<span class="bad">No schematic:</span> ${error.message}`);
  }
}

async function page(context: PageContext, request: Request, verdict: Html, text = ''): Promise<Answer> {
  const { index, holdings, wishes } = context;
  const { signal } = request;
  const url = context.externalUrl(request);
  const { host } = new URL(url);
  await context.condition.recheck();
  const versions = await holdings.versions(signal);
  const contents = await contentsOf(index, holdings, versions, signal);
  const hosts = await index.hosts(signal);
  const query = (request.query.get('q') ?? '').slice(0, maxQueryLength).trim();
  const found = query === '' ? undefined : search(contents, query, host);
  const summary = found === undefined ? '' : summaryOf(found, query);
  const isEmpty = hosts.length === 0 && countOf(contents).names + countOf(contents).files === 0;
  const damaged = healthOf(context).damaged.length;
  const problem = html`<span class="bad">${damaged} damaged or unreadable</span>: <a href="/healthz">see which</a>`;
  const gone = (context.condition.targets?.() ?? []).filter(({ ok }) => !ok).map(({ name }) => name);
  const state =
    gone.length > 0
      ? html`<span class="bad">No answer of the ${gone.join(' and the ')}</span>`
      : damaged > 0
        ? problem
        : isEmpty
          ? html`No content`
          : html`<span class="good">All content read so far is whole</span>`;
  const [image] = contents.repositories;
  const main =
    found !== undefined
      ? resultsSection(found, url)
      : html`${damaged > 0 ? html`<section class="warning" aria-label="Damage"><p>${problem}</p></section>` : html``}
${isEmpty ? emptySection(url, context.isWritable, registryOf(context.condition)) : html``}
${mediaSection(contents, url)}
${setupSection(url, hosts, image && `${image.path}:${image.tags[0]}`)}
${installerSection(contents, host)}
${imagesSection(contents, host)}
${talosctlSection(contents)}
<section aria-labelledby="lookup"><h2 id="lookup">Schematic look-up</h2><form method="post" action="/lookup#lookup"><p><label for="schematic">A schematic (YAML or JSON), or its ID</label></p><textarea id="schematic" name="schematic" spellcheck="false">
${htmlLines(text)}</textarea><button type="submit">Look up</button></form>${verdict}</section>
${wishesSection(await wishes.document(signal))}
${aboutSection(url, versions, context, state)}`;
  const body = html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>${query === '' ? '' : `${query} - `}Omni and Talos content at ${host}</title><link rel="icon" href="data:,"><style>${trustedStyle}</style></head>
<body><a class="skip" href="#main">Skip to the content</a>
<header><h1>Omni and Talos content at ${host}</h1><p>Images, boot assets and schematics that were carried here: an OCI registry and an Image Factory that builds nothing.</p>
<form id="search" role="search" method="get" action="/"><label for="q">Search</label><input id="q" name="q" type="search" value="${query}" maxlength="${maxQueryLength}" placeholder="name, tag, version or file" autocomplete="off" spellcheck="false"><button type="submit">Find</button></form><p id="found" aria-live="polite">${summary}</p>
<nav aria-label="Sections"><ul><li><a href="/#boot-assets">Boot assets</a></li><li><a href="/#setup">Use this server</a></li><li><a href="/#installers">Installers</a></li><li><a href="/#images">Images</a></li><li><a href="/#lookup">Schematic look-up</a></li><li><a href="/#wishes">Wishes</a></li><li><a href="/#about">About</a></li></ul></nav></header>
<main id="main">${warningSection(context.warnings())}${main}</main>
<footer><p>omni-airgap serve. This page loads nothing from elsewhere, and works without script.</p></footer><script>${trustedScript}</script></body></html>
`;
  return { status: 200, headers: pageHeaders, body: body.text };
}

/** Where the registry behind this server is, where there is one. */
function registryOf(condition: Condition): string | undefined {
  return condition.targets?.().find(({ name }) => name === 'registry')?.place;
}

function summaryOf(found: Contents, query: string): string {
  const { names, files } = countOf(found);
  const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
  return names + files === 0
    ? `Nothing here matches "${query}".`
    : `${count(names, 'name')} and ${count(files, 'file')} match "${query}".`;
}
