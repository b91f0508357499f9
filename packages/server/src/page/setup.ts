/** How to point Talos, containerd and Omni at this server, with its own address filled in. */
import { type Html, html, htmlLines } from '@omni-airgap/format';

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
