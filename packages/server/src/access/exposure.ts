/** Who can reach this server without being asked who they are: what its operator should know. */

interface Exposure {
  /** Where it listens: `http://127.0.0.1:5000`. */
  readonly url: string;
  readonly isWritable: boolean;
  readonly hasLogIns: boolean;
  /** Only clients with a certificate connect. */
  readonly isMutual: boolean;
  /** How clients reach it, where that is known. */
  readonly externalUrl: string | undefined;
}

/** @returns one line each */
export function exposureOf(exposure: Exposure): readonly string[] {
  const { url, isWritable, hasLogIns, isMutual, externalUrl } = exposure;
  if (/^https?:\/\/(?:127\.|\[::1\])/.test(url)) return [];
  const warnings: string[] = [];
  if (isWritable && !hasLogIns && !isMutual) {
    warnings.push(
      'anyone who can connect can push to this registry: start serve with --htpasswd FILE or --client-ca FILE, or listen on 127.0.0.1; a later release will refuse to start',
    );
  }
  if (hasLogIns && !url.startsWith('https:') && externalUrl?.startsWith('https:') !== true) {
    warnings.push(
      'passwords are sent unencrypted: start serve with --cert FILE and --key FILE, or with an https --external-url behind a proxy that terminates TLS',
    );
  }
  return warnings;
}
