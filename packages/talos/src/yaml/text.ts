/** Bytes to the text that is parsed. */
import { TalosError } from '../errors.ts';

function decode(bytes: Uint8Array): string {
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? 'utf-16le'
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? 'utf-16be'
        : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new TalosError('BAD_YAML', `it is not ${encoding.toUpperCase()} text`, { cause });
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

/**
 * UTF-8, or UTF-16 with a byte order mark; the mark is taken off.
 * @param maxBytes of the input
 * @throws BAD_YAML for more bytes, for other encodings and for control characters
 */
export function decodeText(input: string | Uint8Array, maxBytes: number): string {
  const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength;
  if (size > maxBytes) throw new TalosError('BAD_YAML', `${size} bytes, more than the ${maxBytes} allowed`);
  if (typeof input === 'string' && !input.isWellFormed()) {
    throw new TalosError('BAD_YAML', 'it is not Unicode text');
  }
  const text = typeof input === 'string' ? input.replace(/^\ufeff/, '') : decode(input);
  const at = text.search(forbidden);
  if (at >= 0) {
    const line = text.slice(0, at).split('\n').length;
    throw new TalosError('BAD_YAML', `line ${line}: a control character`);
  }
  return text;
}
