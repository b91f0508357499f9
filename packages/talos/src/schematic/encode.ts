/** The canonical text of a schematic, and its ID: the hash of that text. */
import { createHash } from 'node:crypto';
import { TalosError } from '../errors.ts';
import { type Emittable, emitYaml, YamlStruct } from '../yaml/go/emit.ts';
import { decodeSchematic } from './decode.ts';
import type { Customization, Overlay, Schematic } from './model.ts';
import { knownFactory, type Spelling, spellingOf, spellings } from './spelling.ts';

type Entry = readonly [string, Emittable];

/** A struct whose empty members are left out, undefined when nothing is left. */
function compact(entries: readonly (readonly [string, Emittable | undefined])[]): YamlStruct | undefined {
  const kept = entries.filter((entry): entry is Entry => !isEmpty(entry[1]));
  return kept.length === 0 ? undefined : new YamlStruct(kept);
}

const isEmpty = (value: Emittable | undefined): boolean =>
  value === undefined ||
  value === '' ||
  value === false ||
  value === 0n ||
  (Array.isArray(value) && value.length === 0);

function overlayOf({ image, name, options }: Overlay): YamlStruct | undefined {
  const kept = options !== undefined && options.size > 0;
  if (image === '' && name === '' && !kept) return undefined;
  return new YamlStruct([['image', image], ['name', name], ...(kept ? [['options', options] as const] : [])]);
}

function customizationOf(customization: Customization): YamlStruct {
  const { meta, systemExtensions, secureboot, diskImage } = customization;
  const fields = compact([
    ['embeddedMachineConfiguration', customization.embeddedMachineConfiguration],
    ['extraKernelArgs', customization.extraKernelArgs],
    [
      'meta',
      meta?.map(
        ({ key, value }) =>
          new YamlStruct([
            ['key', BigInt(key)],
            ['value', value],
          ]),
      ),
    ],
    ['systemExtensions', compact([['officialExtensions', systemExtensions?.officialExtensions]])],
    ['bootloader', customization.bootloader],
    [
      'secureboot',
      compact([
        ['enrollKeys', secureboot?.enrollKeys],
        ['includeWellKnownCertificates', secureboot?.includeWellKnownCertificates],
      ]),
    ],
    ['diskImage', compact([['sectorSize', diskImage?.sectorSize]])],
  ]);
  return fields ?? new YamlStruct([]);
}

const knownSpelling = spellingOf(knownFactory);

/** The text (UTF-8) whose hash is the schematic's ID. @param spelling that of Image Factory 1.5 by default */
export function encodeSchematic(schematic: Schematic, { dialect } = knownSpelling): string {
  const { owner = '' } = schematic;
  const overlay = schematic.overlay === undefined ? undefined : overlayOf(schematic.overlay);
  const struct = new YamlStruct([
    ...(owner === '' ? [] : [['owner', owner] as const]),
    ...(overlay === undefined ? [] : [['overlay', overlay] as const]),
    ['customization', customizationOf(schematic.customization)],
  ]);
  return emitYaml(struct, dialect);
}

/** @param canonical what schematicFrom gave, or what a factory or bundle holds under the ID */
export function schematicId(canonical: string | Uint8Array): string {
  return createHash('sha256').update(canonical).digest('hex');
}

/** True for 64 lower-case hex characters. */
export function isSchematicId(value: string): boolean {
  return value.length === 64 && /^[a-f0-9]{64}$/.test(value);
}

export interface IdentifiedSchematic {
  readonly schematic: Schematic;
  readonly canonical: string;
  readonly id: string;
}

/**
 * What a factory makes of the body of a `POST /schematics`.
 * @param spelling that of Image Factory 1.5 by default @throws BAD_SCHEMATIC
 */
export function schematicFrom(
  input: string | Uint8Array,
  spelling: Spelling = knownSpelling,
): IdentifiedSchematic {
  const schematic = decodeSchematic(input);
  const canonical = encodeSchematic(schematic, spelling);
  return { schematic, canonical, id: schematicId(canonical) };
}

export interface SpelledSchematic {
  readonly id: string;
  readonly canonical: string;
  /** Releases of the Image Factory that give it this ID: `1.5`, `1.1 to 1.4`. */
  readonly factories: readonly string[];
}

/** The schematic as each Image Factory spells it, newest first, one entry for each ID: most have a single one. */
export function spelledSchematics(schematic: Schematic): readonly SpelledSchematic[] {
  const byId = new Map<string, SpelledSchematic>();
  for (const spelling of spellings) {
    const canonical = encodeSchematic(schematic, spelling);
    const id = schematicId(canonical);
    const factories = [...(byId.get(id)?.factories ?? []), spelling.factories];
    byId.set(id, { id, canonical, factories });
  }
  return [...byId.values()];
}

/**
 * The ID that the schematic has in our spelling of it. Texts for which this gives the same are the same schematic, in
 * whatever spelling.
 * @returns undefined for what is no schematic
 */
export function commonSchematicId(text: string | Uint8Array): string | undefined {
  try {
    return schematicFrom(text).id;
  } catch (error) {
    if (error instanceof TalosError) return undefined;
    throw error;
  }
}
