/** The schematic of a media entry: written in mirror.yaml, in a file beside it, or named by its ID. */
import { resolve } from 'node:path';
import { messageOf, printable } from '@omni-airgap/oci/base';
import { readInput } from '@omni-airgap/oci/fs';
import { isHex64 } from '@omni-airgap/oci/model';
import {
  type IdentifiedSchematic,
  maxSchematicBytes,
  schematicFrom,
  validateSchematic,
  type YamlFile,
} from '@omni-airgap/talos';

export type WantedSchematic =
  /** Its text is known here. The factory may spell it otherwise, and has another ID for it then. */
  | ({ readonly kind: 'text' } & IdentifiedSchematic)
  /** Only its ID is; the factory has the text. */
  | { readonly kind: 'id'; readonly id: string };

/** @param at where it stands in mirror.yaml @throws BAD_YAML */
export async function readSchematic(
  raw: string | Record<string, unknown>,
  folder: string,
  source: YamlFile,
  at: readonly (string | number)[],
): Promise<WantedSchematic> {
  if (typeof raw === 'string' && isHex64(raw)) return { kind: 'id', id: raw };
  if (typeof raw !== 'string') {
    // As it is written: the factory reads YAML 1.1, where some words and numbers mean something else.
    return identified(source.textOf(at) ?? '', undefined, source, at);
  }
  const isLikeId = /^[0-9A-Fa-f]{60,68}$/.test(raw);
  const bytes = isLikeId ? undefined : await readInput('schematic', resolve(folder, raw), maxSchematicBytes);
  if (bytes === undefined) {
    const why = isLikeId
      ? 'a schematic ID has 64 hex characters, in lower case'
      : 'no such file, and no 64-hex schematic ID';
    throw source.error(at, `${printable(raw)}: ${why}`);
  }
  return identified(bytes, printable(raw), source, at);
}

function identified(
  text: string | Uint8Array,
  /** Undefined for one that is written in mirror.yaml itself, whose lines are the ones of the message. */
  file: string | undefined,
  source: YamlFile,
  at: readonly (string | number)[],
): WantedSchematic {
  try {
    const identified = schematicFrom(text);
    validateSchematic(identified.schematic);
    return { kind: 'text', ...identified };
  } catch (cause) {
    throw source.error(at, file === undefined ? messageOf(cause) : `${file}: ${messageOf(cause)}`);
  }
}
