/**
 * Schematics that this server knows: those that were carried, and those that were made here since it started. The
 * latter are wishes too, without their text when it holds a secret. A carried one is found by every ID that a release
 * of the Image Factory gives it.
 */

import { isCoded } from '@omni-airgap/oci/base';
import {
  commonSchematicId,
  decodeSchematic,
  findSecrets,
  isSchematicId,
  type Schematic,
  type SpelledSchematic,
  type Spelling,
  schematicFrom,
  spelledSchematics,
  spellingOf,
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
  readonly #spelling: Spelling;
  readonly #made = new Map<string, string>();
  /** IDs of those that were carried, in every spelling, once it was asked for. */
  readonly #idsOfCarried = new Map<string, readonly string[]>();
  #madeBytes = 0;

  /** @param factory release of the Image Factory whose IDs are given, such as `v1.5.0` @throws BAD_VERSION */
  constructor(holdings: Holdings, wishes: WishList, factory: string) {
    this.#holdings = holdings;
    this.#wishes = wishes;
    this.#spelling = spellingOf(factory);
    for (const wish of wishes.document().wishes) {
      if (wish.kind === 'schematic' && wish.text !== undefined) this.#remember(wish.id, wish.text);
    }
  }

  /** True when it was carried or made here. */
  has(id: string): boolean {
    return this.#holdings.hasSchematic(id) || this.#made.has(id);
  }

  /** The carried schematic to which some release of the Image Factory gives this ID; the ID itself when there is none. */
  async carriedAs(id: string, signal?: AbortSignal): Promise<string> {
    if (this.#holdings.hasSchematic(id) || !isSchematicId(id)) return id;
    for (const carried of this.#holdings.schematics()) {
      if ((await this.#idsOf(carried, signal)).includes(id)) return carried;
    }
    return id;
  }

  /** The text that has this ID as its hash; undefined when it is not known, or its text was not carried. */
  async text(id: string, signal?: AbortSignal): Promise<string | undefined> {
    const carried = await this.#holdings.schematic(id, signal);
    if (carried !== undefined) return Buffer.from(carried).toString('utf8');
    const made = this.#made.get(id);
    if (made !== undefined) return made;
    const other = await this.carriedAs(id, signal);
    if (other === id) return undefined;
    return (await this.spelled(other, signal)).find((one) => one.id === id)?.canonical;
  }

  /** As each release of the Image Factory spells it; empty when it is unknown or its text cannot be parsed. */
  async spelled(id: string, signal?: AbortSignal): Promise<readonly SpelledSchematic[]> {
    if (!this.has(id)) return [];
    const schematic = await this.get(id, signal);
    return schematic === undefined ? [] : spelledSchematics(schematic);
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
    const own = schematicFrom(input, this.#spelling);
    validateSchematic(own.schematic);
    if (this.#holdings.hasSchematic(own.id)) return { ...own, isCarried: true };
    const id = await this.carriedAs(own.id, signal);
    const canonical = id === own.id ? undefined : await this.text(id, signal);
    if (canonical !== undefined) return { id, canonical, schematic: own.schematic, isCarried: true };
    return { ...own, isCarried: false };
  }

  /** Makes it known here. One that was not carried becomes a wish. @throws TalosError BAD_SCHEMATIC */
  async create(input: Uint8Array, signal?: AbortSignal): Promise<KnownSchematic> {
    const { schematic, ...known } = await this.identify(input, signal);
    const { id, canonical } = known;
    if (known.isCarried) return known;
    this.#remember(id, canonical);
    const secrets = findSecrets(schematic).map(({ where, what }) => `${where}: ${what}`);
    const spelled = spelledSchematics(schematic);
    // Go writes some texts that nobody can parse; the list of wishes would then be refused at the next start.
    const readBack = commonSchematicId(canonical);
    const hasText = secrets.length === 0 && spelled.some((one) => one.id === readBack);
    const factories = spelled.find((one) => one.id === id)?.factories;
    this.#wishes.add({
      ...({ kind: 'schematic', id, secrets } as const),
      ...(hasText ? { text: canonical } : {}),
      ...(spelled.length > 1 && factories !== undefined ? { factories } : {}),
    });
    return known;
  }

  /** IDs of a carried schematic; empty for one whose text is missing, damaged or cannot be parsed. */
  async #idsOf(carried: string, signal: AbortSignal | undefined): Promise<readonly string[]> {
    const before = this.#idsOfCarried.get(carried);
    if (before !== undefined) return before;
    try {
      const ids = (await this.spelled(carried, signal)).map(({ id }) => id);
      this.#idsOfCarried.set(carried, ids);
      return ids;
    } catch (error) {
      // The others can still be told; health shows the damage.
      if (isCoded(error, 'MISSING_CONTENT', 'DIGEST_MISMATCH')) return [];
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
