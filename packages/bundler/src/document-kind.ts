/** Which of the two documents about a bundle a file is, where either will do. */
import { CodedError, isCoded, parseStrictObject, printable } from '@omni-airgap/oci/base';

/** @throws BAD_DOCUMENT when it is neither */
export function kindOf(bytes: Uint8Array, path: string): 'bundle' | 'receipt' {
  const neither = (cause?: unknown): CodedError =>
    new CodedError('BAD_DOCUMENT', `${printable(path)}: neither a bundle.json nor a receipt`, { cause });
  try {
    const { kind } = parseStrictObject(bytes, { what: path });
    if (kind === 'omni-airgap/receipt') return 'receipt';
    if (kind === 'omni-airgap/bundle') return 'bundle';
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) throw neither(error);
    throw error;
  }
  throw neither();
}
