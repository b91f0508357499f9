/** The sections of the page: what the server holds, what was asked for, how to use it. */

import { type Html, html, htmlLines } from '@omni-airgap/format';
import { formatBytes } from '@omni-airgap/oci/base';
import { hexOf } from '@omni-airgap/oci/model';
import { isMediaName, parseMediaName } from '@omni-airgap/talos';
import type { Provenance } from '../bundles.ts';
import type { HeldMedia, ListedFiles } from '../factory/holdings.ts';
import type { Condition } from '../health.ts';
import { describeWish } from '../wishes/wish.ts';
import type { WantsDocument } from '../wishes/wishes.ts';
import { type Contents, countOf } from './contents.ts';
import type { ListedRepository } from './image-index.ts';

function fileTable(caption: string, files: ListedFiles, href: (name: string) => string): Html {
  return table(
    caption,
    [{ name: 'File' }, { name: 'Size', kind: 'number' }, { name: 'SHA-256', kind: 'sum' }],
    [...files].map(([name, { digest, size }]) => [
      html`<a href="${href(encodeURIComponent(name))}">${name}</a>`,
      html`${formatBytes(size)}`,
      digest === undefined ? html`` : html`<code>${hexOf(digest)}</code>`,
    ]),
  );
}

/** @param sequence of the older bundle that something comes from; undefined for what is current */
function olderMark(sequence: number | undefined): Html {
  return sequence === undefined
    ? html``
    : html` <span class="soft">(from older bundle number ${sequence})</span>`;
}

/** Platforms whose machines can boot over the network from these files: `metal-amd64`. */
function pxeTargets({ files }: HeldMedia): readonly string[] {
  return [...files.keys()].filter(isMediaName).flatMap((name) => {
    const media = parseMediaName(name);
    if (media.kind !== 'cmdline') return [];
    const isWhole = media.secureboot
      ? files.has(`${media.platform}-${media.arch}-secureboot-uki.efi`)
      : files.has(`kernel-${media.arch}`) && files.has(`initramfs-${media.arch}.xz`);
    return isWhole ? [name.slice('cmdline-'.length)] : [];
  });
}

/** The newest version is open. @param media newest version first @param url of this server */
export function mediaSection({ media, older }: Pick<Contents, 'media' | 'older'>, url: string): Html {
  const blocks = media.map((held, i) => {
    const { schematic, version, files } = held;
    const at = `/image/${schematic}/${version}`;
    const mark = olderMark(older.files(`talos-media/${schematic}`, version));
    const isOpen = version === media[0]?.version;
    const pxe = pxeTargets(held).map(
      (target) => html`<li><code>${url}/pxe/${schematic}/${version}/${target}</code></li>`,
    );
    const content = html`<p class="soft">Schematic <code>${schematic}</code>${isOpen ? mark : html``}</p>${fileTable(`Boot assets of Talos ${version}, schematic ${schematic.slice(0, 12)}`, files, (name) => `${at}/${name}`)}${pxe.length === 0 ? html`` : html`<p>To boot over the network, chain iPXE to:</p><ul class="places">${pxe}</ul>`}`;
    return isOpen
      ? html`<h3>Talos ${version}${i === 0 && media.length > 1 ? ' (newest)' : ''}</h3>${content}`
      : html`<details><summary>Talos ${version}, schematic <code>${schematic.slice(0, 12)}…</code>${mark}</summary>${content}</details>`;
  });
  return html`<section aria-labelledby="boot-assets"><h2 id="boot-assets">Boot assets</h2>${media.length === 0 ? html`<p>No boot assets were carried.</p>` : blocks}</section>`;
}

export function talosctlSection({ talosctl, older }: Pick<Contents, 'talosctl' | 'older'>): Html {
  const tables = talosctl.map(
    ([version, files]) =>
      html`<h3>Talos ${version}${olderMark(older.files('talos-catalog/talosctl', version))}</h3>${fileTable(`talosctl ${version}`, files, (name) => `/talosctl/${version}/${name}`)}`,
  );
  if (tables.length === 0) return html``;
  return html`<section aria-labelledby="talosctl"><h2 id="talosctl">talosctl</h2>${tables}</section>`;
}

export function installerSection(
  { installers, older }: Pick<Contents, 'installers' | 'older'>,
  host: string,
): Html {
  const items = installers.flatMap(({ repository, schematic, versions }) =>
    versions.map((version) => {
      const path = `${repository}/${schematic}`;
      return html`<li><code>${host}/${path}:${version}</code>${olderMark(older.tag(path, version))}</li>`;
    }),
  );
  return html`<section aria-labelledby="installers"><h2 id="installers">Installers</h2>${items.length === 0 ? html`<p>No installer images were carried.</p>` : html`<ul class="places">${items}</ul>`}</section>`;
}

/** Tags of one repository on the whole page; a search shows more. */
const fewTags = 20;

/** @param limit tags of one repository */
function repositoryList(
  { repositories, older }: Pick<Contents, 'repositories' | 'older'>,
  host: string,
  limit: number,
): Html {
  const items = repositories.map(({ path, tags }) => {
    const more = tags.length - limit;
    const shown = tags
      .slice(0, limit)
      .map((tag) => html`<li><code>${tag}</code>${olderMark(older.tag(path, tag))}</li>`);
    const rest =
      more > 0
        ? html`<li><a href="/?q=${encodeURIComponent(`${host}/${path}:`)}">all ${tags.length} tags</a></li>`
        : html``;
    return html`<li><code>${host}/${path}</code><ul class="tags">${shown}${rest}</ul></li>`;
  });
  return html`<ul class="repositories">${items}</ul>`;
}

export function imagesSection(
  { repositories, older }: Pick<Contents, 'repositories' | 'older'>,
  host: string,
): Html {
  const count = `${repositories.length} ${repositories.length === 1 ? 'repository' : 'repositories'}`;
  return html`<section aria-labelledby="images"><h2 id="images">Images</h2>
${repositories.length === 0 ? html`<p>No images were carried.</p>` : html`<details><summary>${count}</summary>${repositoryList({ repositories, older }, host, fewTags)}</details>`}</section>`;
}

/** Tags and installers that a search shows. */
const maxFound = 2000;

/** @param found what a search has found @param url of this server */
export function resultsSection(found: Contents, url: string): Html {
  const { host } = new URL(url);
  let left = maxFound;
  const repositories: ListedRepository[] = [];
  for (const { path, tags } of found.repositories) {
    if (left <= 0) break;
    repositories.push({ path, tags: tags.slice(0, left) });
    left -= tags.length;
  }
  const hidden = countOf({ ...found, media: [], talosctl: [], installers: [] }).names - maxFound;
  return html`<section aria-labelledby="results"><h2 id="results">Search results</h2><p><a href="/">Show everything</a></p></section>
${found.media.length === 0 ? html`` : mediaSection(found, url)}
${talosctlSection(found)}
${found.installers.length === 0 ? html`` : installerSection(found, host)}
${repositories.length === 0 ? html`` : html`<section aria-labelledby="images"><h2 id="images">Images</h2>${repositoryList({ repositories, older: found.older }, host, maxFound)}${hidden > 0 ? html`<p>${hidden} more tags match: add a word to the search.</p>` : html``}</section>`}`;
}

/** How many names are served from an older bundle. Content that goes by its digest alone is no name for people. */
function namesFrom(bundle: Provenance, olderNames: ReadonlyMap<string, Provenance>): number {
  return [...olderNames].filter(([name, from]) => from === bundle && !name.startsWith('@')).length;
}

/**
 * Where content came from: each bundle by itself, the newest first.
 * @param provenance with the names that each older bundle alone has
 * @param state of the content read so far
 */
export function aboutSection(
  url: string,
  versions: readonly string[],
  {
    provenance,
    olderNames,
    condition,
  }: {
    readonly provenance: readonly Provenance[];
    readonly olderNames: ReadonlyMap<string, Provenance>;
    readonly condition: Condition;
  },
  state: Html,
): Html {
  const targets = (condition.targets?.() ?? []).map(
    ({ name, place }) => html`<dt>Content from</dt><dd>${name} <code>${place}</code></dd>`,
  );
  const seen = new Set<string>();
  const stores = new Set(provenance.map(({ origin }) => origin));
  const bundles = provenance.map((bundle) => {
    const { id, sequence, origin, createdAt, createdBy, signedBy } = bundle;
    const isNewest = !seen.has(origin);
    seen.add(origin);
    const age = provenance.length === 1 ? '' : isNewest ? ', the newest' : ', older';
    const names = namesFrom(bundle, olderNames);
    const served =
      names === 0 ? html`` : html`<dt>Names</dt><dd>${names} that no newer bundle of its store lists</dd>`;
    const store = stores.size < 2 ? '' : ` of store ${origin.slice(0, 8)}`;
    return html`<h3>Bundle number ${sequence}${store}${age}</h3><dl class="facts"><dt>Made</dt><dd><time datetime="${createdAt}">${createdAt.slice(0, 16).replace('T', ' ')}</time> UTC${createdBy === undefined ? '' : ` by ${createdBy}`}</dd><dt>Signed by</dt><dd>${signedBy === undefined ? html`<span class="bad">nobody's signature was checked</span>` : html`<code>${signedBy}</code>`}</dd>${served}<dt>ID</dt><dd><code>${id}</code></dd><dt>Store</dt><dd><code>${origin}</code></dd></dl>`;
  });
  return html`<section aria-labelledby="about"><h2 id="about">About this server</h2><dl class="facts"><dt>Address</dt><dd><code>${url}</code></dd><dt>Talos versions</dt><dd>${versions.length === 0 ? 'none' : versions.toReversed().join(', ')}</dd>${targets}<dt>State</dt><dd>${state}</dd></dl>${bundles}</section>`;
}

const maxShown = 200;

export function wishesSection({ wishes, dropped }: WantsDocument): Html {
  if (wishes.length === 0) {
    return html`<section aria-labelledby="wishes"><h2 id="wishes">Wishes</h2><p>Nothing was asked for that is not here.</p></section>`;
  }
  const rows = wishes.slice(0, maxShown).map((wish) => {
    const secrets = wish.kind === 'schematic' ? wish.secrets : [];
    const flag =
      secrets.length === 0
        ? html``
        : html`<p class="flag"><span class="bad">Holds a secret</span> (${secrets.join('; ')}): its text was not recorded.</p>`;
    return [
      html`<code>${describeWish(wish)}</code>${flag}`,
      html`<span class="phone">asked </span>${wish.count}<span class="phone">×, last&nbsp;</span>`,
      html`<time datetime="${wish.last}">${wish.last.slice(0, 16).replace('T', ' ')}</time>`,
    ];
  });
  const hidden = wishes.length - rows.length + dropped;
  return html`<section aria-labelledby="wishes"><h2 id="wishes">Wishes</h2>
<p>This was asked for and is not here. Carry <a href="/wants.yaml" download="wants.yaml">the list as a part of mirror.yaml</a> out, or run <code>omni-airgap wants --from</code> with the address of this page.</p>
${table('Wishes', [{ name: 'What' }, { name: 'Asked', kind: 'number' }, { name: 'Last (UTC)', kind: 'time' }], rows)}
${hidden > 0 ? html`<p>${hidden} more are not shown.</p>` : html``}</section>`;
}

/** @param warnings of the operator; none, no section */
export function warningSection(warnings: readonly string[]): Html {
  if (warnings.length === 0) return html``;
  const lines = warnings.map((text) => html`<p><span class="bad">Warning:</span> ${text}</p>`);
  return html`<section aria-labelledby="warnings"><h2 id="warnings">Not protected</h2>${lines}</section>`;
}

/**
 * What to do where nothing is held.
 * @param url of this server @param isWritable it takes pushes @param registry behind it, where there is one
 */
export function emptySection(url: string, isWritable: boolean, registry?: string): Html {
  const { host, protocol } = new URL(url);
  const serve = block(
    'Command that serves a bundle',
    'omni-airgap serve --bundle /mnt/usb --verify-key site.pub',
  );
  const plain = protocol === 'http:' ? ` --plain-http ${host}` : '';
  const load = `omni-airgap load --bundle /mnt/usb --verify-key site.pub --registry ${host}${plain}`;
  if (registry !== undefined) {
    const there = `omni-airgap load --bundle /mnt/usb --verify-key site.pub --registry ${registry}`;
    return html`<section aria-labelledby="empty"><h2 id="empty">Nothing is here yet</h2>
<p>Load a bundle into the registry behind this server, and into its object store, from a machine that holds the medium:</p>${block('Command that loads a bundle', there)}</section>`;
  }
  return html`<section aria-labelledby="empty"><h2 id="empty">Nothing is here yet</h2>
${isWritable ? html`<p>Load a bundle into this server, from a machine that holds its medium:</p>${block('Command that loads a bundle', load)}<p>Or start the server with the bundle, which copies nothing:</p>` : html`<p>This server takes no pushes. Start it with a bundle:</p>`}${serve}</section>`;
}

/** @param url of this server @param registries whose images it holds @param image one that can be pulled, with its tag */
export function setupSection(url: string, registries: readonly string[], image: string | undefined): Html {
  const { host, protocol } = new URL(url);
  const named = registries.length > 0 ? registries : ['ghcr.io'];
  const first = named.includes('ghcr.io') ? 'ghcr.io' : (named[0] ?? '');
  const isPlain = protocol === 'http:';
  const mirrors = named
    .map((name) =>
      [
        'apiVersion: v1alpha1',
        'kind: RegistryMirrorConfig',
        `name: ${name}`,
        'endpoints:',
        `  - url: ${url}`,
        'skipFallback: true',
      ].join('\n'),
    )
    .join('\n---\n');
  const older = [
    'machine:',
    '  registries:',
    '    mirrors:',
    ...named.flatMap((name) => [
      `      ${name}:`,
      `        endpoints: ["${url}"]`,
      '        skipFallback: true',
    ]),
  ].join('\n');
  const hosts = [`server = "${url}"`, '', `[host."${url}"]`, '  capabilities = ["pull", "resolve"]'].join(
    '\n',
  );
  const docker = JSON.stringify({ 'insecure-registries': [host] }, undefined, 2);
  const podman = ['[[registry]]', `location = "${host}"`, 'insecure = true'].join('\n');
  const omni = [
    `--primary-factory-url=${url}`,
    `--primary-factory-pxe-url=${url}`,
    `--kubernetes-registry=${host}/siderolabs/kubelet`,
    `--talos-installer-registry=${host}/siderolabs/installer`,
  ].join('\n');
  return html`<section aria-labelledby="setup"><h2 id="setup">Use this server</h2>
${isPlain ? html`<p>This server speaks plain HTTP. iPXE and Talos accept that; Docker, Podman and skopeo need <code>${host}</code> as an insecure registry.</p>` : html`<p>Clients must trust the certificate of this server: on Talos with a <code>TrustedRootsConfig</code> document.</p>`}
<h3>Talos 1.12 and newer</h3><p>As patches of the machine configuration:</p>${block('Talos configuration', mirrors)}
<h3>Talos up to 1.11</h3>${block('Older Talos configuration', older)}
<h3>Docker and Podman</h3>${isPlain ? html`<p>In <code>/etc/docker/daemon.json</code>:</p>${block('Docker configuration', docker)}<p>In <code>/etc/containers/registries.conf.d/site.conf</code>:</p>${block('Podman configuration', podman)}` : html``}<p>The host of this server takes the place of the host of an image:</p>${block('Command that pulls an image', `docker pull ${host}/${image ?? 'siderolabs/kubelet:TAG'}`)}
<h3>containerd</h3><p>In <code>/etc/containerd/certs.d/${first}/hosts.toml</code>, and so on for each registry:</p>${block('containerd configuration', hosts)}
<h3>Omni 1.10 and newer</h3><p>Older versions take <code>--image-factory-address=${url}</code> in place of the first two.</p>${block('Omni flags', omni)}</section>`;
}

/** To be copied: it can be scrolled by keyboard, and each line is a line. */
function block(label: string, text: string): Html {
  return html`<pre tabindex="0" role="group" aria-label="${label}"><code>${htmlLines(text)}</code></pre>`;
}

interface Column {
  readonly name: string;
  readonly kind?: 'number' | 'sum' | 'time';
}

/**
 * Tables of the page. On a phone their rows become blocks, which is why each element says its role: without, it would
 * be none for a screen reader then.
 * @param rows a cell for each column; the first is the row's header
 */
function table(caption: string, columns: readonly Column[], rows: readonly (readonly Html[])[]): Html {
  const head = columns.map(
    ({ name, kind = '' }) => html`<th scope="col" role="columnheader" class="${kind}">${name}</th>`,
  );
  const body = rows.map(([first = html``, ...others]) => {
    const cells = others.map(
      (cell, i) => html`<td role="cell" class="${columns[i + 1]?.kind ?? ''}">${cell}</td>`,
    );
    return html`<tr role="row"><th scope="row" role="rowheader">${first}</th>${cells}</tr>`;
  });
  return html`<div class="wide" tabindex="0" role="group" aria-label="${caption}"><table role="table"><caption class="unseen">${caption}</caption><thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">${body}</tbody></table></div>`;
}
