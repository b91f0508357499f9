/** What Talos, Omni and the Image Factory name and expect. Nothing here does I/O or imports a sibling. */
export { TalosError, type TalosErrorCode } from './errors.ts';
export { decodeSchematic, maxSchematicBytes, validateSchematic } from './schematic/decode.ts';
export {
  encodeSchematic,
  type IdentifiedSchematic,
  isSchematicId,
  schematicFrom,
  schematicId,
  schematicSpellings,
} from './schematic/encode.ts';
export type { Bootloader, Customization, MetaValue, Overlay, Schematic } from './schematic/model.ts';
