/**
 * The site's authority as a kernel argument, for Talos 1.11: a TrustedRootsConfig, zstd, base64. Kernel arguments are
 * cut without a word when they are too long, so the length is checked here.
 * Source: siderolabs/docs omni/self-hosted/run-omni-airgapped; linux COMMAND_LINE_SIZE of x86-64 and arm64.
 */
import { constants, zstdCompressSync } from 'node:zlib';
import { trustedRoots } from './talos-documents.ts';

/** Bytes of a whole kernel command line. */
const commandLineBytes = 2048;
/** What Talos and Omni put on it themselves, with some room. */
const othersBytes = 700;

export interface EarlyArgument {
  /** `talos.config.early=…` and a line that says how long it is. */
  readonly text: string;
  readonly argument: string;
  /** False when it would be cut. */
  readonly fits: boolean;
}

export function earlyArgument(ca: string): EarlyArgument {
  const compressed = zstdCompressSync(Buffer.from(trustedRoots(ca)), {
    params: { [constants.ZSTD_c_compressionLevel]: 22 },
  });
  const argument = `talos.config.early=${compressed.toString('base64')}`;
  const room = commandLineBytes - othersBytes;
  const fits = argument.length <= room;
  const verdict = fits
    ? `It has ${argument.length} characters; up to ${room} are safe.`
    : `TOO LONG: it has ${argument.length} characters and only up to ${room} are safe; the kernel would cut it without a word. Use an authority with a P-256 key, or Talos 1.12 with embedded-config.yaml.`;
  const text = `# Before Omni's own kernel arguments (omnictl jointoken kernel-args), Talos 1.11 only.\n# ${verdict}\n${argument}\n`;
  return { text, argument, fits };
}
