/** What the server holds, as sections of the page. */

import { type Html, html } from '@omni-airgap/format';
import { type Descriptor, hexOf } from '@omni-airgap/oci';
import { formatBytes } from '@omni-airgap/oci/base';
import { isMediaName, parseMediaName } from '@omni-airgap/talos';
import type { HeldInstaller, HeldMedia } from '../factory/holdings.ts';
import type { Repository } from '../registry/catalog.ts';
import { table } from './table.ts';

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
    const names = [...tags.keys()].filter((tag) => !tag.startsWith('sha256-'));
    const more = names.length > maxTags ? ` and ${names.length - maxTags} more` : '';
    return [html`<code>${host}/${path}</code>`, html`${names.slice(0, maxTags).join(', ')}${more}`];
  });
  const count = `${rows.length} ${rows.length === 1 ? 'repository' : 'repositories'}`;
  return html`<section aria-labelledby="images"><h2 id="images">Images</h2>
${rows.length === 0 ? html`<p>No images were carried.</p>` : html`<details><summary>${count}</summary>${table('Images and their tags', [{ name: 'Repository' }, { name: 'Tags' }], rows)}</details>`}</section>`;
}
