/** The certificate that a command shows to the servers its user named, read from PEM files and checked. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { CodedError } from '../base/errors.ts';
import { readNamedFile } from '../fs/named-file.ts';
import type { ClientCertificate } from '../http/connections.ts';

/** The flags, as they were given. */
export interface ClientCertificateFiles {
  /** Path of a PEM file: the certificate, and those between it and the authority. */
  readonly clientCert?: string | undefined;
  /** Path of a PEM file; it may be the same. */
  readonly clientKey?: string | undefined;
  /** Opens an encrypted key. */
  readonly clientKeyPassphrase?: string | undefined;
}

const maxPemBytes = 1024 * 1024;

/**
 * @param onNote told of a certificate that is out of date
 * @returns undefined when none is named
 * @throws USAGE when one of the two is missing; NO_INPUT, CONFIG for files that cannot be used together
 */
export async function readClientCertificate(
  { clientCert, clientKey, clientKeyPassphrase: passphrase }: ClientCertificateFiles,
  onNote?: (text: string) => void,
): Promise<Omit<ClientCertificate, 'hosts'> | undefined> {
  if (clientCert === undefined && clientKey === undefined) return undefined;
  if (clientCert === undefined || clientKey === undefined) {
    throw new CodedError('USAGE', '--client-cert and --client-key belong together: specify both');
  }
  const cert = await readPem('--client-cert', clientCert);
  const key = await readPem('--client-key', clientKey);
  const certificate = parsed(
    () => new X509Certificate(cert),
    `--client-cert ${clientCert}: holds no PEM certificate`,
  );
  const why = !key.includes('ENCRYPTED')
    ? 'holds no PEM private key'
    : passphrase === undefined
      ? 'has a passphrase; give it in OMNI_AIRGAP_KEY_PASSPHRASE'
      : 'the passphrase in OMNI_AIRGAP_KEY_PASSPHRASE does not open it';
  const privateKey = parsed(
    () => createPrivateKey({ key, format: 'pem', passphrase }),
    `--client-key ${clientKey}: ${why}`,
  );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CodedError(
      'CONFIG',
      `--client-key ${clientKey}: is not the key of --client-cert ${clientCert}`,
    );
  }
  const now = new Date();
  if (now > certificate.validToDate || now < certificate.validFromDate) {
    onNote?.(
      `--client-cert ${clientCert}: is valid from ${certificate.validFrom} to ${certificate.validTo}, and this host's clock says ${now.toISOString()}`,
    );
  }
  return { cert, key, passphrase };
}

async function readPem(flag: string, path: string): Promise<string> {
  return (await readNamedFile(flag, path, maxPemBytes)).toString('latin1');
}

function parsed<T>(parse: () => T, message: string): T {
  try {
    return parse();
  } catch (cause) {
    throw new CodedError('CONFIG', message, { cause });
  }
}
