/** Schematics from YAML (JSON is a part of it): accepted, refused and understood as the Image Factory does. */
import { quoted, TalosError } from '../errors.ts';
import { type GoYamlReader, type Node, readGoYaml } from '../yaml/go/read.ts';
import { type Bootloader, bootloaders, type Customization, type MetaValue, type Schematic } from './model.ts';

/** Bytes; real ones have a few hundred, with an embedded configuration some ten thousand. */
export const maxSchematicBytes: number = 1024 * 1024;

/**
 * @param input the body of a `POST /schematics`; only its first document counts, as at the factory
 * @throws BAD_SCHEMATIC for what a factory cannot decode and answers 400 to; for what no Go program writes (anchors,
 *   aliases, merge keys, tags but `!!binary`, U+0085, U+2028 and U+2029 unescaped, dates as keys), which a factory may
 *   take; beyond 1 MiB, 32 levels and 100000 tokens
 */
export function decodeSchematic(input: string | Uint8Array): Schematic {
  try {
    return readGoYaml(input, maxSchematicBytes, readSchematic);
  } catch (cause) {
    if (!(cause instanceof TalosError)) throw cause;
    throw new TalosError('BAD_SCHEMATIC', cause.message, { cause });
  }
}

/** What only the Enterprise edition takes. @throws BAD_SCHEMATIC where a community factory answers 400 */
export function validateSchematic(schematic: Schematic): void {
  if (schematic.owner === undefined) return;
  throw new TalosError(
    'BAD_SCHEMATIC',
    'owner field is only supported in Enterprise edition of the Image Factory; leave it out',
  );
}

function readSchematic(yaml: GoYamlReader, root: Node): Schematic {
  const string = (node: Node): string | undefined => yaml.string(node);
  const strings = (node: Node): readonly string[] | undefined => yaml.list(node, 'string', string);
  const fields = yaml.struct(root, 'schematic.Schematic', {
    owner: string,
    overlay: (node) =>
      yaml.struct(node, 'schematic.Overlay', {
        image: string,
        name: string,
        options: (value) => yaml.stringMap(value),
      }),
    customization: (node) => readCustomization(yaml, node, string, strings),
  });
  const { owner = '', overlay = {}, customization = {} } = fields ?? {};
  const { image = '', name = '', options } = overlay;
  const hasOptions = options !== undefined && options.size > 0;
  const hasOverlay = image !== '' || name !== '' || hasOptions;
  return {
    ...(owner === '' ? {} : { owner }),
    ...(hasOverlay ? { overlay: { image, name, ...(hasOptions ? { options } : {}) } } : {}),
    customization,
  };
}

function readCustomization(
  yaml: GoYamlReader,
  node: Node,
  string: (node: Node) => string | undefined,
  strings: (node: Node) => readonly string[] | undefined,
): Customization {
  const fields = yaml.struct(node, 'schematic.Customization', {
    embeddedMachineConfiguration: string,
    extraKernelArgs: strings,
    meta: (value) => yaml.list(value, 'schematic.MetaValue', (item) => readMeta(yaml, item)),
    systemExtensions: (value) =>
      yaml.struct(value, 'schematic.SystemExtensions', { officialExtensions: strings }),
    bootloader: (value) => readBootloader(yaml, value),
    secureboot: (value) =>
      yaml.struct(value, 'schematic.SecureBootCustomization', {
        enrollKeys: string,
        includeWellKnownCertificates: (flag) => yaml.boolean(flag),
      }),
    diskImage: (value) =>
      yaml.struct(value, 'schematic.DiskImageCustomization', {
        sectorSize: (size) => yaml.unsigned(size, 'uint'),
      }),
  });
  const { embeddedMachineConfiguration = '', extraKernelArgs = [], meta = [], bootloader } = fields ?? {};
  const { officialExtensions = [] } = fields?.systemExtensions ?? {};
  const { enrollKeys = '', includeWellKnownCertificates = false } = fields?.secureboot ?? {};
  const { sectorSize = 0n } = fields?.diskImage ?? {};
  return {
    ...(embeddedMachineConfiguration === '' ? {} : { embeddedMachineConfiguration }),
    ...(extraKernelArgs.length === 0 ? {} : { extraKernelArgs }),
    ...(meta.length === 0 ? {} : { meta }),
    ...(officialExtensions.length === 0 ? {} : { systemExtensions: { officialExtensions } }),
    ...(bootloader === undefined ? {} : { bootloader }),
    ...(enrollKeys === '' && !includeWellKnownCertificates
      ? {}
      : {
          secureboot: {
            ...(enrollKeys === '' ? {} : { enrollKeys }),
            ...(includeWellKnownCertificates ? { includeWellKnownCertificates } : {}),
          },
        }),
    ...(sectorSize === 0n ? {} : { diskImage: { sectorSize } }),
  };
}

function readMeta(yaml: GoYamlReader, node: Node): MetaValue | undefined {
  const fields = yaml.struct(node, 'schematic.MetaValue', {
    key: (number) => yaml.unsigned(number, 'uint8'),
    value: (text) => yaml.string(text),
  });
  return fields && { key: Number(fields.key ?? 0n), value: fields.value ?? '' };
}

/** Upper and lower case are the same, as Talos reads it. */
function readBootloader(yaml: GoYamlReader, node: Node): Bootloader | undefined {
  const text = yaml.text(node, 'imageropts.BootloaderKind');
  if (text === undefined) return undefined;
  const word = text.toLowerCase();
  if (word === 'none') return undefined;
  const known = bootloaders.find((bootloader) => bootloader === word);
  if (known !== undefined) return known;
  return yaml.report(
    node,
    `${quoted(text)} does not belong to BootloaderKind values, which are none, ${bootloaders.join(', ')}`,
  );
}
