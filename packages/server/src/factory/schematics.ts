/**
 * Schematics that this server knows: those that were carried, and those that were made here since it started. The
 * latter are wishes too, without their text when it holds a secret.
 */
import {
  decodeSchematic,
  encodeSchematic,
  findSecrets,
  type Schematic,
  schematicId,
  schematicSpellings,
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

  async get(id: string, signal?: AbortSignal): Promise<Schematic | undefined> {
    const text = await this.text(id, signal);
    return text === undefined ? undefined : decodeSchematic(text);
  }

  /**
   * The carried one that means the same under any of its spellings, or else what the Image Factory would make of it.
   * @param input YAML or JSON @throws TalosError BAD_SCHEMATIC
   */
  identify(input: string | Uint8Array): KnownSchematic & { readonly schematic: Schematic } {
    const schematic = decodeSchematic(input);
    validateSchematic(schematic);
    const carried = schematicSpellings(schematic).find(({ id }) => this.#holdings.hasSchematic(id));
    if (carried !== undefined) return { ...carried, schematic, isCarried: true };
    const canonical = encodeSchematic(schematic);
    return { id: schematicId(canonical), canonical, schematic, isCarried: false };
  }

  /** Makes it known here. One that was not carried becomes a wish. @throws TalosError BAD_SCHEMATIC */
  create(input: Uint8Array): KnownSchematic {
    const { schematic, ...known } = this.identify(input);
    const { id, canonical } = known;
    if (known.isCarried) return known;
    this.#remember(id, canonical);
    const secrets = findSecrets(schematic).map(({ where, what }) => `${where}: ${what}`);
    this.#wishes.add({ kind: 'schematic', id, ...(secrets.length > 0 ? {} : { text: canonical }), secrets });
    return known;
  }

  #remember(id: string, text: string): void {
    const size = Buffer.byteLength(text);
    if (this.#made.has(id) || this.#made.size >= maxRemembered) return;
    if (this.#madeBytes + size > maxRememberedBytes) return;
    this.#made.set(id, text);
    this.#madeBytes += size;
  }
}
