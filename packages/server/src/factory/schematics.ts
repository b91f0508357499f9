/**
 * Schematics that this server knows: those that were carried, and those that were made here. The
 * latter are wishes too, without their text when it holds a secret. A carried one is found by every ID that a release
 * of the Image Factory gives it.
 */

import { isCoded, settleAll, WorkQueue } from '@omni-airgap/oci/base';
import {
  commonSchematicId,
  decodeSchematic,
  findSecrets,
  isSchematicId,
  knownFactory,
  type Schematic,
  type SpelledSchematic,
  type Spelling,
  schematicFrom,
  spelledSchematics,
  spellingOf,
  TalosError,
  validateSchematic,
} from '@omni-airgap/talos';
import type { Wishes } from '../wishes/wishes.ts';
import type { Holdings } from './holdings.ts';
import type { MadeSchematics } from './made-schematics.ts';

/** Carried ones whose other IDs are looked at. */
const maxCompared = 1000;
const comparedAtOnce = 8;

export interface KnownSchematic {
  readonly id: string;
  /** What the ID is the hash of. */
  readonly canonical: string;
  readonly isCarried: boolean;
}

export class Schematics {
  readonly #holdings: Holdings;
  readonly #made: MadeSchematics;
  readonly #wishes: Wishes;
  readonly #spelling: () => Promise<Spelling>;
  /** IDs of those that were carried, in every spelling, once it was asked for. */
  readonly #idsOfCarried = new Map<string, readonly string[]>();

  /** @param factory release of the Image Factory whose IDs are given; left out, as the holdings say, or the newest known */
  constructor(holdings: Holdings, made: MadeSchematics, wishes: Wishes, factory: string | undefined) {
    this.#holdings = holdings;
    this.#made = made;
    this.#wishes = wishes;
    const given = factory === undefined ? undefined : spellingOf(factory);
    this.#spelling = async () => given ?? spellingOf((await holdings.factoryVersion()) ?? knownFactory);
  }

  /** True when it was carried or made here. */
  async has(id: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#holdings.hasSchematic(id, signal)) || this.#made.has(id, signal);
  }

  /** The carried schematic to which some release of the Image Factory gives this ID; the ID itself when there is none. */
  async carriedAs(id: string, signal?: AbortSignal): Promise<string> {
    if (!isSchematicId(id) || (await this.has(id, signal))) return id;
    const all = (await this.#holdings.schematics(signal)).slice(0, maxCompared);
    const queue = new WorkQueue(comparedAtOnce);
    const same = all.map((carried) =>
      queue.run(1, async () => ((await this.#idsOf(carried, signal)).includes(id) ? [carried] : [])),
    );
    return (await settleAll(same)).flat()[0] ?? id;
  }

  /** The text that has this ID as its hash; undefined when it is not known, or its text was not carried. */
  async text(id: string, signal?: AbortSignal): Promise<string | undefined> {
    const carried = await this.#holdings.schematic(id, signal);
    if (carried !== undefined) return Buffer.from(carried).toString('utf8');
    const made = await this.#made.text(id, signal);
    if (made !== undefined) return made;
    const other = await this.carriedAs(id, signal);
    if (other === id) return undefined;
    return (await this.spelled(other, signal)).find((one) => one.id === id)?.canonical;
  }

  /** As each release of the Image Factory spells it; empty when it is unknown or its text cannot be parsed. */
  async spelled(id: string, signal?: AbortSignal): Promise<readonly SpelledSchematic[]> {
    if (!(await this.has(id, signal))) return [];
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
    const own = schematicFrom(input, await this.#spelling());
    validateSchematic(own.schematic);
    if (await this.#holdings.hasSchematic(own.id, signal)) return { ...own, isCarried: true };
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
    const secrets = findSecrets(schematic).map(({ where, what }) => `${where}: ${what}`);
    await this.#made.keep({ id, canonical, secrets }, signal);
    const spelled = spelledSchematics(schematic);
    // Go writes some texts that nobody can parse; the list of wishes would then be refused at the next start.
    const readBack = commonSchematicId(canonical);
    const hasText = secrets.length === 0 && spelled.some((one) => one.id === readBack);
    const factories = spelled.find((one) => one.id === id)?.factories;
    const wish = {
      ...({ kind: 'schematic', id, secrets } as const),
      ...(hasText ? { text: canonical } : {}),
      ...(spelled.length > 1 && factories !== undefined ? { factories } : {}),
    };
    await this.#wishes.add(wish, signal);
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
}
