/** Schematics from YAML (JSON is a part of it): accepted, refused and understood as the Image Factory does. */
import { quoted, schematicErrors, TalosError } from '../errors.ts';
import { Composer } from '../yaml/composer.ts';
import { type Constructor, construct } from '../yaml/constructor.ts';
import type { Node } from '../yaml/node.ts';
import { Reader } from '../yaml/reader.ts';
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
 * @throws BAD_SCHEMATIC for all that a factory cannot decode and answers 400 to, and beyond 1 MiB, 500 levels,
 *   and with aliases expanded 200000 values and 16 Mi characters
 */
export function decodeSchematic(input: string | Uint8Array): Schematic {
  return schematicErrors(() => {
    const root = new Composer(new Reader(input, maxSchematicBytes)).document();
    if (root === undefined) throw new TalosError('BAD_YAML', 'there is no document');
    return schematicOf(construct((yaml) => readFields(yaml, root)));
  });
}

/** What only the Enterprise edition takes. @throws BAD_SCHEMATIC where a community factory answers 400 */
export function validateSchematic(schematic: Schematic): void {
  if (schematic.owner === undefined) return;
  throw new TalosError(
    'BAD_SCHEMATIC',
    'owner field is only supported in Enterprise edition of the Image Factory; leave it out',
  );
}

function readFields(yaml: Constructor, root: Node): Fields {
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
  const strings = (node: Node): readonly string[] =>
    yaml.list(node, 'string', (item) => yaml.string(item)) ?? [];
  yaml.struct(root, 'schematic.Schematic', {
    owner: (node) => {
      fields.owner = yaml.string(node) ?? fields.owner;
    },
    overlay: (node) =>
      yaml.struct(node, 'schematic.Overlay', {
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
      yaml.struct(node, 'schematic.Customization', {
        embeddedMachineConfiguration: (value) => {
          fields.embedded = yaml.string(value) ?? fields.embedded;
        },
        extraKernelArgs: (value) => {
          fields.kernelArgs = strings(value);
        },
        meta: (value) => {
          fields.meta = yaml.list(value, 'schematic.MetaValue', (item) => readMeta(yaml, item)) ?? [];
        },
        systemExtensions: (value) =>
          yaml.struct(value, 'schematic.SystemExtensions', {
            officialExtensions: (list) => {
              fields.extensions = strings(list);
            },
          }),
        bootloader: (value) => {
          fields.bootloader = readBootloader(yaml, value, fields.bootloader);
        },
        secureboot: (value) =>
          yaml.struct(value, 'schematic.SecureBootCustomization', {
            enrollKeys: (keys) => {
              fields.enrollKeys = yaml.string(keys) ?? fields.enrollKeys;
            },
            includeWellKnownCertificates: (flag) => {
              fields.wellKnown = yaml.boolean(flag) ?? fields.wellKnown;
            },
          }),
        diskImage: (value) =>
          yaml.struct(value, 'schematic.DiskImageCustomization', {
            sectorSize: (size) => {
              fields.sectorSize = yaml.unsigned(size, 'uint') ?? fields.sectorSize;
            },
          }),
      }),
  });
  return fields;
}

function readMeta(yaml: Constructor, node: Node): MetaValue | undefined {
  let key = 0;
  let value = '';
  const present = yaml.struct(node, 'schematic.MetaValue', {
    key: (number) => {
      key = Number(yaml.unsigned(number, 'uint8') ?? key);
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
  const text = yaml.text(node, 'imageropts.BootloaderKind');
  if (text === undefined) return before;
  const word = text.toLowerCase();
  if (word === 'none') return undefined;
  const known = bootloaders.find((bootloader) => bootloader === word);
  if (known !== undefined) return known;
  yaml.report(
    node,
    `${quoted(text)} does not belong to BootloaderKind values, which are none, ${bootloaders.join(', ')}`,
  );
  return undefined;
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
