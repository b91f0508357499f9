/** Schematics that clients make at this server: where their texts are kept. */

/** What the Image Factory would make of a client's schematic. */
export interface MadeSchematic {
  readonly id: string;
  /** What the ID is the hash of. */
  readonly canonical: string;
  /** Places that look like a secret, such as `customization.extraKernelArgs[0]: a join token`. */
  readonly secrets: readonly string[];
}

/** Every method may throw what the place of the texts throws: DENIED, UPSTREAM, NETWORK, ABORTED. */
export interface MadeSchematics {
  has(id: string, signal?: AbortSignal): Promise<boolean>;
  /** The text that has this ID as its hash; undefined when it was not made here. */
  text(id: string, signal?: AbortSignal): Promise<string | undefined>;
  /** It is kept when this resolves. */
  keep(made: MadeSchematic, signal?: AbortSignal): Promise<void>;
}

const maxRemembered = 1000;
const maxRememberedBytes = 16 * 1024 * 1024;

/** In memory, until the server ends; those without a secret are wishes too, and known again from the list. */
export class RememberedSchematics implements MadeSchematics {
  readonly #texts = new Map<string, string>();
  #bytes = 0;

  async has(id: string): Promise<boolean> {
    return this.#texts.has(id);
  }

  async text(id: string): Promise<string | undefined> {
    return this.#texts.get(id);
  }

  async keep({ id, canonical }: Pick<MadeSchematic, 'id' | 'canonical'>): Promise<void> {
    const size = Buffer.byteLength(canonical);
    if (this.#texts.has(id) || this.#texts.size >= maxRemembered) return;
    if (this.#bytes + size > maxRememberedBytes) return;
    this.#texts.set(id, canonical);
    this.#bytes += size;
  }
}
