/**
 * The unit that runs this program as the registry of a site: no container, since no image can be pulled before it answers.
 * And the spelling of text in units.
 * Source: systemd.unit(5), "Specifiers"; systemd.service(5), "Command lines"; systemd.exec(5).
 */
import { registryUrl } from '../inside/registry.ts';
import type { CertificateFiles, Site } from '../site.ts';

export const registryUnitName = 'omni-airgap-registry.service';

/** Below /var/lib: what the registry holds. */
const stateFolder = 'omni-airgap';

/**
 * @param program absolute path of the executable
 * @param files absolute paths of the registry's certificate and key, and of its log-ins where it has some
 * @returns undefined for a site without a registry, or with one that speaks plain HTTP
 */
export function registryUnit(
  { registry }: Pick<Site, 'registry'>,
  program: string,
  { chain, key, htpasswd }: CertificateFiles & { readonly htpasswd?: string | undefined },
): string | undefined {
  if (registry === undefined || registry.plainHttp === true) return undefined;
  const { port } = new URL(registryUrl({ host: registry.host, prefix: '', plainHttp: false }));
  const command = [
    ...[program, 'serve', '--writable', `/var/lib/${stateFolder}/registry`],
    ...['--listen', `0.0.0.0:${port === '' ? '443' : port}`, '--cert', chain, '--key', key],
    ...(htpasswd === undefined ? [] : ['--htpasswd', htpasswd]),
  ];
  return `# systemctl enable --now PATH-OF-THIS-FILE. A site with a registry of its own has no use for it.${
    htpasswd === undefined
      ? '\n# Anyone who can connect can push: run site init --pki --registry-user NAME, then add its --htpasswd FILE here.'
      : ''
  }
[Unit]
Description=omni-airgap: registry of this site
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=${command.map(systemdArgument).join(' ')}
StateDirectory=${stateFolder}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only

[Install]
WantedBy=multi-user.target
`;
}

/** Text without specifiers. */
export function systemdText(text: string): string {
  return text.replaceAll('%', '%%');
}

/** One argument; systemd fills in `${NAME}` also inside quotes. */
export function systemdArgument(text: string): string {
  const escaped = systemdText(text);
  return /[\s"'\\;]/.test(escaped) ? `"${escaped.replaceAll(/["\\]/g, '\\$&')}"` : escaped;
}
