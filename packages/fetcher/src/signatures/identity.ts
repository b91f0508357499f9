/** Who must have signed images, where they are signed without a key: an identity, and who vouches for it. */
import { randomUUID } from 'node:crypto';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { sideroIssuer, sideroPrefix, sideroSigners } from '@omni-airgap/talos';
import type { Signer } from './sigstore-root.ts';

/** How references begin. A `=` of the expression must not make a prefix that fits none, and so ask for nothing. */
const prefixPattern = /^(?:[a-z0-9](?!.*:\/\/)[\w.:/@-]*)?$/i;

export class ImageIdentity {
  /** References that begin with it; empty for all. */
  readonly prefix: string;
  readonly #text: string;
  readonly #pattern: RegExp;
  readonly #issuer: string;

  /**
   * @param text `REGEXP` or `PREFIX=REGEXP`; the expression must fit the whole identity
   * @throws CONFIG
   */
  constructor(text: string, issuer: string) {
    const at = text.indexOf('=');
    this.prefix = at < 0 ? '' : text.slice(0, at);
    this.#text = at < 0 ? text : text.slice(at + 1);
    const bad = (why: string): CodedError =>
      new CodedError('CONFIG', `--verify-images-identity ${text}: ${why}`);
    if (!prefixPattern.test(this.prefix)) {
      throw bad('no image begins with what is before the first =; write =REGEXP if all are meant');
    }
    if (this.#text === '') throw bad('names nobody');
    try {
      // Alone first: a bracket too many must not end the one that holds the anchors.
      new RegExp(this.#text);
      this.#pattern = new RegExp(`^(?:${this.#text})$`);
    } catch (cause) {
      throw bad(`is no regular expression: ${messageOf(cause)}`);
    }
    const anybody = `${randomUUID()}@${randomUUID()}.example`;
    if (this.#pattern.test(anybody))
      throw bad('matches anyone, and anyone can get a certificate; specify who may sign');
    if (!URL.canParse(issuer) || new URL(issuer).protocol !== 'https:') {
      throw new CodedError('CONFIG', `--verify-images-issuer ${issuer}: must be an https URL`);
    }
    this.#issuer = issuer;
  }

  fits({ identity, issuer }: Signer): boolean {
    return issuer === this.#issuer && this.#pattern.test(identity);
  }

  toString(): string {
    return `${this.#text} (${this.#issuer})`;
  }
}

/**
 * @param texts as --verify-images-identity takes them; none for Sidero's own images
 * @param issuers one for all identities, or one for each in their order; none for Google, which vouches for Sidero
 * @throws CONFIG
 */
export function readIdentities(
  texts: readonly string[],
  issuers: readonly string[],
): readonly ImageIdentity[] {
  const wanted = texts.length > 0 ? texts : [`${sideroPrefix}=${sideroSigners}`];
  // Paired by their order: an issuer must never vouch for the identities of another.
  if (issuers.length > 1 && issuers.length !== wanted.length) {
    throw new CodedError(
      'CONFIG',
      `--verify-images-issuer is given ${issuers.length} times for ${wanted.length} of --verify-images-identity; give it once for all, or once for each in their order`,
    );
  }
  return wanted.map((text, i) => new ImageIdentity(text, issuers[i] ?? issuers[0] ?? sideroIssuer));
}
