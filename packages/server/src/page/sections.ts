/** The sections of the page: what the server holds, what was asked for, how to use it. */

import { type Html, html, htmlLines } from '@omni-airgap/format';
import { formatBytes } from '@omni-airgap/oci/base';
import { type Descriptor, hexOf, subjectOfTag } from '@omni-airgap/oci/model';
import { isMediaName, parseMediaName } from '@omni-airgap/talos';
import type { HeldInstaller, HeldMedia } from '../factory/holdings.ts';
import type { Repository } from '../registry/catalog.ts';
import { describeWish } from '../wishes/wish.ts';
import type { WantsDocument } from '../wishes/wish-list.ts';

function fileTable(
  caption: string,
  files: ReadonlyMap<string, Descriptor>,
  href: (name: string) => string,
): Html {
  return table(
    caption,
    [{ name: 'File' }, { name: 'Size', kind: 'number' }, { name: 'SHA-256', kind: 'sum' }],
    [...files].map(([name, { digest, size }]) => [
      html`<a href="${href(encodeURIComponent(name))}">${name}</a>`,
      html`${formatBytes(size)}`,
      html`<code>${hexOf(digest)}</code>`,
    ]),
  );
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

/** @param url of this server */
export function mediaSection(media: readonly HeldMedia[], url: string): Html {
  const tables = media.map((held) => {
    const { schematic, version, files } = held;
    const at = `/image/${schematic}/${version}`;
    const pxe = pxeTargets(held).map(
      (target) => html`<li><code>${url}/pxe/${schematic}/${version}/${target}</code></li>`,
    );
    return html`<h3>Talos ${version}</h3><p class="soft">Schematic <code>${schematic}</code></p>${fileTable(`Media of Talos ${version}, schematic ${schematic.slice(0, 12)}`, files, (name) => `${at}/${name}`)}${pxe.length === 0 ? html`` : html`<p>To boot over the network, chain iPXE to:</p><ul class="places">${pxe}</ul>`}`;
  });
  return html`<section aria-labelledby="media"><h2 id="media">Talos media</h2>${media.length === 0 ? html`<p>No media were carried.</p>` : tables}</section>`;
}

/** @param files of talosctl by version */
export function talosctlSection(
  versions: readonly (readonly [string, ReadonlyMap<string, Descriptor>])[],
): Html {
  const tables = versions
    .filter(([, files]) => files.size > 0)
    .map(
      ([version, files]) =>
        html`<h3>Talos ${version}</h3>${fileTable(`talosctl ${version}`, files, (name) => `/talosctl/${version}/${name}`)}`,
    );
  if (tables.length === 0) return html``;
  return html`<section aria-labelledby="talosctl"><h2 id="talosctl">talosctl</h2>${tables}</section>`;
}

export function installerSection(installers: readonly HeldInstaller[], host: string): Html {
  const items = installers.flatMap(({ repository, schematic, versions }) =>
    versions.map((version) => html`<li><code>${host}/${repository}/${schematic}:${version}</code></li>`),
  );
  return html`<section aria-labelledby="installers"><h2 id="installers">Installers</h2>${items.length === 0 ? html`<p>No installer images were carried.</p>` : html`<ul class="places">${items}</ul>`}</section>`;
}

const maxTags = 20;

export function imagesSection(repositories: readonly (readonly [string, Repository])[], host: string): Html {
  const rows = repositories.map(([path, { tags }]) => {
    const names = [...tags.keys()].filter((tag) => subjectOfTag(tag) === undefined);
    const more = names.length > maxTags ? ` and ${names.length - maxTags} more` : '';
    return [html`<code>${host}/${path}</code>`, html`${names.slice(0, maxTags).join(', ')}${more}`];
  });
  const count = `${rows.length} ${rows.length === 1 ? 'repository' : 'repositories'}`;
  return html`<section aria-labelledby="images"><h2 id="images">Images</h2>
${rows.length === 0 ? html`<p>No images were carried.</p>` : html`<details><summary>${count}</summary>${table('Images and their tags', [{ name: 'Repository' }, { name: 'Tags' }], rows)}</details>`}</section>`;
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

/** What to do where nothing is held. @param url of this server @param isWritable it takes pushes */
export function emptySection(url: string, isWritable: boolean): Html {
  const { host, protocol } = new URL(url);
  const serve = block(
    'Command that serves a bundle',
    'omni-airgap serve --bundle /mnt/usb --verify-key site.pub',
  );
  const plain = protocol === 'http:' ? ` --plain-http ${host}` : '';
  const load = `omni-airgap load --bundle /mnt/usb --verify-key site.pub --registry ${host}${plain}`;
  return html`<section aria-labelledby="empty"><h2 id="empty">Nothing is here yet</h2>
${isWritable ? html`<p>Load a bundle into this server, from a machine that holds its medium:</p>${block('Command that loads a bundle', load)}<p>Or start the server with the bundle, which copies nothing:</p>` : html`<p>This server takes no pushes. Start it with a bundle:</p>`}${serve}</section>`;
}

/** @param url of this server @param registries whose images it holds */
export function setupSection(url: string, registries: readonly string[]): Html {
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
  const omni = [
    `--primary-factory-url=${url}`,
    `--primary-factory-pxe-url=${url}`,
    `--kubernetes-registry=${host}/siderolabs/kubelet`,
    `--talos-installer-registry=${host}/siderolabs/installer`,
  ].join('\n');
  return html`<section aria-labelledby="setup"><h2 id="setup">Use this server</h2>
${isPlain ? html`<p>This server speaks plain HTTP. iPXE and Talos take that as it is; Docker and skopeo must be told that <code>${host}</code> is insecure.</p>` : html`<p>Clients must trust the certificate of this server: on Talos with a <code>TrustedRootsConfig</code> document.</p>`}
<h3>Talos 1.12 and newer</h3><p>As patches of the machine configuration:</p>${block('Talos configuration', mirrors)}
<h3>Talos up to 1.11</h3>${block('Older Talos configuration', older)}
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
