/**
 * Schematics that this server knows: those that were carried, and those that were made here since it started. The
 * latter are wishes too, without their text when it holds a secret.
 */

import { isCoded } from '@omni-airgap/oci/base';
import {
  commonSchematicId,
  decodeSchematic,
  findSecrets,
  type Schematic,
  schematicFrom,
  TalosError,
  validateSchematic,
} from '@omni-airgap/talos';
import type { WishList } from '../wishes/wish-list.ts';
import type { Holdings } from './holdings.ts';

const maxRemembered = 1000;
const maxRememberedBytes = 16 * 1024 * 1024;

export interface KnownSchematic {
  readonly id: string;
  /** What the ID is the hash of. */
  readonly canonical: string;
  readonly isCarried: boolean;
}

export class Schematics {
  readonly #holdings: Holdings;
  readonly #wishes: WishList;
  readonly #made = new Map<string, string>();
  /** Of those that were carried, once it was asked for. */
  readonly #commonIds = new Map<string, string | undefined>();
  #madeBytes = 0;

  constructor(holdings: Holdings, wishes: WishList) {
    this.#holdings = holdings;
    this.#wishes = wishes;
    for (const wish of wishes.document().wishes) {
      if (wish.kind === 'schematic' && wish.text !== undefined) this.#remember(wish.id, wish.text);
    }
  }

  /** True when it was carried or made here. */
  has(id: string): boolean {
    return this.#holdings.hasSchematic(id) || this.#made.has(id);
  }

  /** The canonical text; undefined when it is not known, or its text was not carried. */
  async text(id: string, signal?: AbortSignal): Promise<string | undefined> {
    const carried = await this.#holdings.schematic(id, signal);
    return carried === undefined ? this.#made.get(id) : Buffer.from(carried).toString('utf8');
  }

  /** Returns undefined when it is unknown, or when its text cannot be parsed: Go writes some texts that nobody can. */
  async get(id: string, signal?: AbortSignal): Promise<Schematic | undefined> {
    const text = await this.text(id, signal);
    if (text === undefined) return undefined;
    try {
      return decodeSchematic(text);
    } catch (error) {
      // The text itself is still served.
      if (error instanceof TalosError) return undefined;
      throw error;
    }
  }

  /**
   * The carried one that is the same in whatever spelling, or else what the Image Factory would make of it.
   * @param input YAML or JSON @throws TalosError BAD_SCHEMATIC
   */
  async identify(
    input: string | Uint8Array,
    signal?: AbortSignal,
  ): Promise<KnownSchematic & { readonly schematic: Schematic }> {
    const own = schematicFrom(input);
    validateSchematic(own.schematic);
    if (this.#holdings.hasSchematic(own.id)) return { ...own, isCarried: true };
    for (const id of this.#holdings.schematics()) {
      if ((await this.#commonIdOf(id, signal)) !== own.id) continue;
      const canonical = await this.text(id, signal);
      if (canonical !== undefined) return { id, canonical, schematic: own.schematic, isCarried: true };
    }
    return { ...own, isCarried: false };
  }

  /** Makes it known here. One that was not carried becomes a wish. @throws TalosError BAD_SCHEMATIC */
  async create(input: Uint8Array, signal?: AbortSignal): Promise<KnownSchematic> {
    const { schematic, ...known } = await this.identify(input, signal);
    const { id, canonical } = known;
    if (known.isCarried) return known;
    this.#remember(id, canonical);
    const secrets = findSecrets(schematic).map(({ where, what }) => `${where}: ${what}`);
    // Go writes some texts that nobody can parse; the list of wishes would then be refused at the next start.
    const isReadable = commonSchematicId(canonical) === id;
    const hasText = isReadable && secrets.length === 0;
    this.#wishes.add({ kind: 'schematic', id, ...(hasText ? { text: canonical } : {}), secrets });
    return known;
  }

  async #commonIdOf(id: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#commonIds.has(id)) return this.#commonIds.get(id);
    try {
      const text = await this.#holdings.schematic(id, signal);
      if (text === undefined) return undefined;
      this.#commonIds.set(id, commonSchematicId(text));
      return this.#commonIds.get(id);
    } catch (error) {
      // The others can still be told; health shows the damage.
      if (isCoded(error, 'MISSING_CONTENT', 'DIGEST_MISMATCH')) return undefined;
      throw error;
    }
  }

  #remember(id: string, text: string): void {
    const size = Buffer.byteLength(text);
    if (this.#made.has(id) || this.#made.size >= maxRemembered) return;
    if (this.#madeBytes + size > maxRememberedBytes) return;
    this.#made.set(id, text);
    this.#madeBytes += size;
  }
}
