/** Schematics from YAML (JSON is a part of it): accepted, refused and understood as the Image Factory does. */
import { TalosError } from '../errors.ts';
import { Composer } from '../yaml/composer.ts';
import { Constructor } from '../yaml/constructor.ts';
import type { Node } from '../yaml/node.ts';
import { decodeText } from '../yaml/text.ts';
import type { YamlMap } from '../yaml/value.ts';
import { type Bootloader, bootloaders, type MetaValue, type Schematic } from './model.ts';

/** Bytes; real ones have a few hundred, with an embedded configuration some ten thousand. */
export const maxSchematicBytes: number = 1024 * 1024;

/** What Go's structs hold while they are filled: every field has a zero value. */
interface Fields {
  owner: string;
  image: string;
  name: string;
  options: YamlMap | undefined;
  embedded: string;
  kernelArgs: readonly string[];
  meta: readonly MetaValue[];
  extensions: readonly string[];
  bootloader: Bootloader | undefined;
  enrollKeys: string;
  wellKnown: boolean;
  sectorSize: bigint;
}

/**
 * @param input the body of a `POST /schematics`; only its first document counts, as at the factory
 * @throws BAD_SCHEMATIC for all that a factory cannot decode and answers 400 to, and beyond 1 MiB, 100 levels and
 *   50000 values
 */
export function decodeSchematic(input: string | Uint8Array): Schematic {
  try {
    const root = new Composer(decodeText(input, maxSchematicBytes)).document();
    if (root === undefined) throw new TalosError('BAD_YAML', 'there is no document');
    return schematicOf(readFields(root));
  } catch (cause) {
    if (!(cause instanceof TalosError)) throw cause;
    throw new TalosError('BAD_SCHEMATIC', `schematic: ${cause.message}`, { cause });
  }
}

/** What only the Enterprise edition takes. @throws BAD_SCHEMATIC where a community factory answers 400 */
export function validateSchematic(schematic: Schematic): void {
  if (schematic.owner === undefined) return;
  throw new TalosError(
    'BAD_SCHEMATIC',
    'schematic: owner is for the Enterprise edition of the Image Factory; leave it out',
  );
}

function readFields(root: Node): Fields {
  const fields: Fields = {
    owner: '',
    image: '',
    name: '',
    options: undefined,
    embedded: '',
    kernelArgs: [],
    meta: [],
    extensions: [],
    bootloader: undefined,
    enrollKeys: '',
    wellKnown: false,
    sectorSize: 0n,
  };
  const yaml = new Constructor();
  const strings = (node: Node): readonly string[] => yaml.list(node, (item) => yaml.string(item)) ?? [];
  yaml.struct(root, {
    owner: (node) => {
      fields.owner = yaml.string(node) ?? fields.owner;
    },
    overlay: (node) =>
      yaml.struct(node, {
        image: (value) => {
          fields.image = yaml.string(value) ?? fields.image;
        },
        name: (value) => {
          fields.name = yaml.string(value) ?? fields.name;
        },
        options: (value) => {
          fields.options = yaml.stringMap(value);
        },
      }),
    customization: (node) =>
      yaml.struct(node, {
        embeddedMachineConfiguration: (value) => {
          fields.embedded = yaml.string(value) ?? fields.embedded;
        },
        extraKernelArgs: (value) => {
          fields.kernelArgs = strings(value);
        },
        meta: (value) => {
          fields.meta = yaml.list(value, (item) => readMeta(yaml, item)) ?? [];
        },
        systemExtensions: (value) =>
          yaml.struct(value, {
            officialExtensions: (list) => {
              fields.extensions = strings(list);
            },
          }),
        bootloader: (value) => {
          fields.bootloader = readBootloader(yaml, value, fields.bootloader);
        },
        secureboot: (value) =>
          yaml.struct(value, {
            enrollKeys: (keys) => {
              fields.enrollKeys = yaml.string(keys) ?? fields.enrollKeys;
            },
            includeWellKnownCertificates: (flag) => {
              fields.wellKnown = yaml.boolean(flag) ?? fields.wellKnown;
            },
          }),
        diskImage: (value) =>
          yaml.struct(value, {
            sectorSize: (size) => {
              fields.sectorSize = yaml.unsigned(size, 2n ** 64n - 1n) ?? fields.sectorSize;
            },
          }),
      }),
  });
  return fields;
}

function readMeta(yaml: Constructor, node: Node): MetaValue | undefined {
  let key = 0;
  let value = '';
  const present = yaml.struct(node, {
    key: (number) => {
      key = Number(yaml.unsigned(number, 255n) ?? key);
    },
    value: (text) => {
      value = yaml.string(text) ?? value;
    },
  });
  return present ? { key, value } : undefined;
}

/** Upper and lower case are the same, as Talos reads it. */
function readBootloader(
  yaml: Constructor,
  node: Node,
  before: Bootloader | undefined,
): Bootloader | undefined {
  const text = yaml.text(node);
  if (text === undefined) return before;
  const word = text.toLowerCase();
  if (word === 'none') return undefined;
  const known = bootloaders.find((bootloader) => bootloader === word);
  if (known === undefined) throw yaml.fail(node, `bootloader must be none, ${bootloaders.join(', ')}`);
  return known;
}

function schematicOf(fields: Fields): Schematic {
  const { owner, image, name, options } = fields;
  const hasOptions = options !== undefined && options.size > 0;
  const hasOverlay = image !== '' || name !== '' || hasOptions;
  const { embedded, kernelArgs, meta, extensions, bootloader, enrollKeys, wellKnown, sectorSize } = fields;
  return {
    ...(owner === '' ? {} : { owner }),
    ...(hasOverlay ? { overlay: { image, name, ...(hasOptions ? { options } : {}) } } : {}),
    customization: {
      ...(embedded === '' ? {} : { embeddedMachineConfiguration: embedded }),
      ...(kernelArgs.length === 0 ? {} : { extraKernelArgs: kernelArgs }),
      ...(meta.length === 0 ? {} : { meta }),
      ...(extensions.length === 0 ? {} : { systemExtensions: { officialExtensions: extensions } }),
      ...(bootloader === undefined ? {} : { bootloader }),
      ...(enrollKeys === '' && !wellKnown
        ? {}
        : {
            secureboot: {
              ...(enrollKeys === '' ? {} : { enrollKeys }),
              ...(wellKnown ? { includeWellKnownCertificates: true } : {}),
            },
          }),
      ...(sectorSize === 0n ? {} : { diskImage: { sectorSize } }),
    },
  };
}
