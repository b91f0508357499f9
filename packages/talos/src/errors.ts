/** The error of this package: a union code that programs match on, one line for people, and the cause. */

/**
 * BAD_YAML: the text is not YAML as the Image Factory reads it. BAD_SCHEMATIC: what the factory answers 400 to.
 * BAD_VERSION, BAD_MEDIA_NAME, BAD_IMAGE: text that breaks its grammar. UNKNOWN_TALOS_VERSION: no row in the table.
 */
export type TalosErrorCode =
  | 'BAD_YAML'
  | 'BAD_SCHEMATIC'
  | 'BAD_VERSION'
  | 'BAD_MEDIA_NAME'
  | 'BAD_IMAGE'
  | 'UNKNOWN_TALOS_VERSION';

export class TalosError extends Error {
  readonly code: TalosErrorCode;

  /** @param message one line: what failed, where, what to do next; never a secret, never a whole input */
  constructor(code: TalosErrorCode, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TalosError';
    this.code = code;
  }
}

/** Does the work, and says BAD_SCHEMATIC where it was refused for another reason. */
export function schematicErrors<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof TalosError)) throw cause;
    throw new TalosError('BAD_SCHEMATIC', cause.message, { cause });
  }
}

/** Untrusted text for a message: quoted, escaped to printable ASCII, at most 80 characters of it. */
export function quoted(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return JSON.stringify(cut).replace(
    /[^\u0020-\u007e…]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
