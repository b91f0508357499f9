/** The page at `/`: what this server holds, how to use it, what is missing. It needs neither internet nor script. */

import { Html, html, htmlLines } from '@omni-airgap/format';
import { isCoded } from '@omni-airgap/oci/base';
import { collect } from '@omni-airgap/oci/model';
import { isSchematicId, schematicRepository, TalosError } from '@omni-airgap/talos';
import { failed, json, plainText } from '../factory/answer.ts';
import type { Holdings } from '../factory/holdings.ts';
import type { Schematics } from '../factory/schematics.ts';
import { type HealthContext, healthOf } from '../health.ts';
import type { Answer, Request, RouteGroup } from '../http/message.ts';
import type { Catalog } from '../registry/catalog.ts';
import { parseInstallerPath } from '../registry/installers.ts';
import { wantsFragment } from '../wishes/fragment.ts';
import { type WishList, wantsFile } from '../wishes/wish-list.ts';
import {
  emptySection,
  imagesSection,
  installerSection,
  mediaSection,
  setupSection,
  talosctlSection,
  warningSection,
  wishesSection,
} from './sections.ts';
import { pageHeaders, style } from './style.ts';

export interface PageContext extends HealthContext {
  readonly catalog: Catalog;
  readonly holdings: Holdings;
  readonly schematics: Schematics;
  readonly wishes: WishList;
  /** It takes pushes. */
  readonly isWritable: boolean;
  /** What the operator should know about who can reach this server. */
  readonly warnings: () => readonly string[];
  readonly externalUrl: (request: Request) => string;
}

/** Ours, and hashed as it is. */
const trustedStyle = new Html(style);
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
          return { GET: () => json(200, wishes.document()) };
        case 'wants.yaml':
          return {
            GET: (request) => ({
              status: 200,
              headers: { 'Content-Type': 'application/yaml; charset=utf-8', 'Cache-Control': 'no-store' },
              body: wantsFragment(wishes.document(), context.externalUrl(request)),
            }),
          };
        default:
          return undefined;
      }
    },
    methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
    failed,
  };
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
    if (!holdings.hasSchematic(id)) {
      return line(
        html`<span class="bad">Not carried:</span> schematic <code>${id}</code>. Nothing was recorded; asking for its media records a wish.`,
      );
    }
    const versions = [
      ...new Set([
        ...holdings
          .media()
          .filter((one) => one.schematic === id)
          .map(({ version }) => version),
        ...holdings
          .installers()
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
  const { catalog, holdings, wishes, provenance } = context;
  const url = context.externalUrl(request);
  const { host } = new URL(url);
  await context.integrity.recheck();
  const versions = await holdings.versions();
  const health = healthOf(context);
  const registries = new Set<string>();
  const repositories = [...catalog.paths()].flatMap((path) => {
    const [first = ''] = path.split('/');
    // Each carried image stands here twice; the form without its host is the one to show.
    if (first.includes('.')) registries.add(first);
    const repository = catalog.repository(path);
    const isOther =
      first.includes('.') ||
      parseInstallerPath(path) !== undefined ||
      path.startsWith('talos-') ||
      path === schematicRepository;
    return isOther || repository === undefined || repository.tags.size === 0
      ? []
      : [[path, repository] as const];
  });
  repositories.sort(([a], [b]) => (a < b ? -1 : 1));
  const talosctl = versions.map((version) => [version, holdings.list('talosctl', version)] as const);
  const isEmpty = [...catalog.paths()].length === 0;
  const whole = isEmpty ? html`No content` : html`<span class="good">All content read so far is whole</span>`;
  const state =
    health.status === 'ok'
      ? whole
      : html`<span class="bad">${health.damaged.length} damaged or unreadable</span>: <a href="/healthz">see which</a>`;
  const signed = provenance.map(
    ({ id, sequence, origin, createdAt, createdBy, signedBy }) =>
      html`<dt>Bundle</dt><dd><code>${id}</code></dd><dt>Sequence</dt><dd>${sequence} of origin <code>${origin}</code></dd><dt>Made</dt><dd><time datetime="${createdAt}">${createdAt.slice(0, 16).replace('T', ' ')}</time> UTC${createdBy === undefined ? '' : ` by ${createdBy}`}</dd><dt>Signed by</dt><dd>${signedBy === undefined ? html`<span class="bad">nobody's signature was checked</span>` : html`<code>${signedBy}</code>`}</dd>`,
  );
  const body = html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Omni and Talos content at ${host}</title><link rel="icon" href="data:,"><style>${trustedStyle}</style></head>
<body><a class="skip" href="#main">Skip to the content</a>
<header><h1>Omni and Talos content at ${host}</h1><p>Images, install media and schematics that were carried here: an OCI registry and an Image Factory that builds nothing.</p>
<nav aria-label="Sections"><ul><li><a href="#media">Talos media</a></li><li><a href="#installers">Installers</a></li><li><a href="#images">Images</a></li><li><a href="#lookup">Schematic look-up</a></li><li><a href="#setup">Use this server</a></li><li><a href="#wishes">Wishes</a></li></ul></nav></header>
<main id="main">${warningSection(context.warnings())}<section aria-labelledby="about"><h2 id="about">About</h2><dl class="facts"><dt>Address</dt><dd><code>${url}</code></dd><dt>Talos versions</dt><dd>${versions.length === 0 ? 'none' : versions.toReversed().join(', ')}</dd><dt>State</dt><dd>${state}</dd>${signed}</dl></section>
${isEmpty ? emptySection(url, context.isWritable) : html``}
${mediaSection(holdings.media(), url)}
${talosctlSection(talosctl)}
${installerSection(holdings.installers(), host)}
${imagesSection(repositories, host)}
<section aria-labelledby="lookup"><h2 id="lookup">Schematic look-up</h2><form method="post" action="/lookup#lookup"><p><label for="schematic">A schematic (YAML or JSON), or its ID</label></p><textarea id="schematic" name="schematic" spellcheck="false">
${htmlLines(text)}</textarea><button type="submit">Look up</button></form>${verdict}</section>
${setupSection(url, [...registries].sort())}
${wishesSection(wishes.document())}</main>
<footer><p>omni-airgap serve. This page loads nothing from elsewhere and runs no script.</p></footer></body></html>
`;
  return { status: 200, headers: pageHeaders, body: body.text };
}
