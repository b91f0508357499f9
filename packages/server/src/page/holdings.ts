/** What the server holds, as sections of the page. */
import type { Descriptor } from '@omni-airgap/content';
import { type Html, hexOf, html } from '@omni-airgap/content';
import { isMediaName, parseMediaName } from '@omni-airgap/talos';
import type { HeldInstaller, HeldMedia } from '../factory/holdings.ts';
import type { Repository } from '../registry/catalog.ts';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

function sizeOf(bytes: number): string {
  const power = bytes === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}

function fileRow(name: string, { digest, size }: Descriptor, href: string): Html {
  return html`<tr><th scope="row"><a href="${href}">${name}</a></th><td class="n">${sizeOf(size)}</td><td class="sum"><code>${hexOf(digest)}</code></td></tr>`;
}

function fileTable(caption: string, rows: readonly Html[]): Html {
  return html`<div class="wide" tabindex="0" role="group" aria-label="${caption}"><table><caption>${caption}</caption><thead><tr><th scope="col">File</th><th scope="col" class="n">Size</th><th scope="col">SHA-256</th></tr></thead><tbody>${rows}</tbody></table></div>`;
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
    const rows = [...files].map(([name, file]) =>
      fileRow(name, file, `/image/${schematic}/${version}/${encodeURIComponent(name)}`),
    );
    const pxe = pxeTargets(held).map(
      (target) => html`<li><code>${url}/pxe/${schematic}/${version}/${target}</code></li>`,
    );
    return html`<h3>Talos ${version}, schematic <code>${schematic}</code></h3>${fileTable(`Media of Talos ${version}, schematic ${schematic.slice(0, 12)}`, rows)}${pxe.length === 0 ? html`` : html`<p>To boot over the network, chain iPXE to:</p><ul>${pxe}</ul>`}`;
  });
  return html`<section aria-labelledby="media"><h2 id="media">Talos media</h2>${media.length === 0 ? html`<p>No media were carried.</p>` : tables}</section>`;
}

/** @param files of talosctl by version */
export function talosctlSection(
  versions: readonly (readonly [string, ReadonlyMap<string, Descriptor>])[],
): Html {
  const tables = versions
    .filter(([, files]) => files.size > 0)
    .map(([version, files]) =>
      fileTable(
        `talosctl ${version}`,
        [...files].map(([name, file]) =>
          fileRow(name, file, `/talosctl/${version}/${encodeURIComponent(name)}`),
        ),
      ),
    );
  if (tables.length === 0) return html``;
  return html`<section aria-labelledby="talosctl"><h2 id="talosctl">talosctl</h2>${tables}</section>`;
}

export function installerSection(installers: readonly HeldInstaller[], host: string): Html {
  const items = installers.flatMap(({ repository, schematic, versions }) =>
    versions.map((version) => html`<li><code>${host}/${repository}/${schematic}:${version}</code></li>`),
  );
  return html`<section aria-labelledby="installers"><h2 id="installers">Installers</h2>${items.length === 0 ? html`<p>No installer images were carried.</p>` : html`<ul>${items}</ul>`}</section>`;
}

const maxTags = 20;

export function imagesSection(repositories: readonly (readonly [string, Repository])[], host: string): Html {
  const rows = repositories.map(([path, { tags }]) => {
    const names = [...tags.keys()].filter((tag) => !tag.startsWith('sha256-'));
    const more = names.length > maxTags ? ` and ${names.length - maxTags} more` : '';
    return html`<tr><th scope="row"><code>${host}/${path}</code></th><td>${names.slice(0, maxTags).join(', ')}${more}</td></tr>`;
  });
  return html`<section aria-labelledby="images"><h2 id="images">Images</h2>
${rows.length === 0 ? html`<p>No images were carried.</p>` : html`<details><summary>${rows.length} repositories</summary><div class="wide" tabindex="0" role="group" aria-label="Images"><table><caption>Images and their tags</caption><thead><tr><th scope="col">Repository</th><th scope="col">Tags</th></tr></thead><tbody>${rows}</tbody></table></div></details>`}</section>`;
}
