/**
 * Secrets in a schematic and in the Talos configuration that it embeds (T52), by the names of fields and by the form of
 * texts: whoever knows a schematic's ID can download media with all that is in it, and the public factory logs what it
 * is sent.
 */
import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import { TalosError } from '../errors.ts';
import { Timestamp, YamlMap, type YamlValue } from '../yaml/go/value.ts';
import { YamlText } from '../yaml/text.ts';
import { decodeSchematic } from './decode.ts';
import type { Schematic } from './model.ts';
import { inlineConfiguration, secretsInText } from './secret-patterns.ts';

export interface Secret {
  /** The field, such as `customization.extraKernelArgs[0]`. */
  readonly where: string;
  /** What kind, for people: `a join token`. Never the value. */
  readonly what: string;
}

const maxBytes = 4 * 1024 * 1024;

/** How names of fields that hold a secret end: `machine.token`, `aescbcEncryptionSecret`, `privateKey`. */
const secretNamePattern =
  /(?:token|secret|passw(?:or)?d|passphrase|privatekey|presharedkey|secretkey|accesskey|apikey|credentials?|psk)$/i;
/** The same in text that is no YAML. */
const secretLinePattern =
  /^[\t -]{0,200}["']?[A-Za-z0-9_.-]{0,60}(?:token|secret|passw(?:or)?d|passphrase|key|auth)["']?[\t ]{0,20}:[\t ]{0,20}[^\s#]/im;

/** Next to these, `key` names a label or a taint. */
const selectorNames = ['operator', 'effect', 'values'];

function isSecretName(name: string, siblings: YamlMap): boolean {
  if (name === 'key') return !selectorNames.some((sibling) => siblings.get(sibling) !== undefined);
  return name === 'auth' || secretNamePattern.test(name);
}

const isFilled = (value: YamlValue): boolean =>
  (typeof value === 'string' && value !== '') || typeof value === 'bigint' || typeof value === 'number';

/** A field's name where it looks like one: other text could be anything. */
const shown = (name: string): string => (/^[A-Za-z][A-Za-z0-9_-]{0,60}$/.test(name) ? name : '*');

/** @param where what stands before the fields found */
function secretsInValue(value: YamlValue, where: string): readonly Secret[] {
  if (typeof value === 'string') return secretsInText(value).map((what) => ({ where, what }));
  if (typeof value !== 'object' || value === null || value instanceof Timestamp) return [];
  if (!(value instanceof YamlMap)) {
    return (value as readonly YamlValue[]).flatMap((item, i) => secretsInValue(item, `${where}[${i}]`));
  }
  return value.entries().flatMap(([key, item]) => {
    const name = String(key);
    const path = `${where}.${shown(name)}`;
    const named = isSecretName(name, value) && isFilled(item);
    return [
      ...(named ? [{ where: path, what: `a value named ${shown(name)}` }] : []),
      ...secretsInText(name).map((what) => ({ where: `${where}.*`, what })),
      ...secretsInValue(item, path),
    ];
  });
}

/** Undefined for text that is no YAML: it may be meant for another parser, and is searched as text. */
function documentsOf(text: string): readonly YamlValue[] | undefined {
  try {
    const documents = new YamlText(text, maxBytes, () => '').documents();
    return Array.from(documents, ({ contents }) => written(contents));
  } catch (error) {
    if (error instanceof TalosError) return undefined;
    throw error;
  }
}

/** Scalars as they are written. An alias is its own text: what it stands for is found where that is written. */
function written(node: unknown): YamlValue {
  if (isAlias(node)) return `*${node.source}`;
  if (isScalar(node)) return node.type === 'PLAIN' && node.value === null ? null : (node.source ?? '');
  if (isSeq(node)) return node.items.map(written);
  const map = new YamlMap();
  if (!isMap(node)) return null;
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? (key.source ?? '') : '';
    // Of two values under one key, the map would forget one.
    if (map.get(name) !== undefined) throw new TalosError('BAD_YAML', 'a key twice');
    map.set(name, written(value));
  }
  return map;
}

/** @param text one or more YAML documents; anything else is searched line by line */
function secretsInConfiguration(text: string, where: string): readonly Secret[] {
  const inText = secretsInText(text).map((what) => ({ where, what }));
  const documents = documentsOf(text);
  if (documents !== undefined) {
    const inFields = documents.flatMap((document) => secretsInValue(document, where));
    const kinds = new Set(inFields.map(({ what }) => what));
    // Comments and what lies across fields.
    return [...inFields, ...inText.filter(({ what }) => !kinds.has(what))];
  }
  return secretLinePattern.test(text) ? [...inText, { where, what: 'a value named like a secret' }] : inText;
}

function secretsInArgument(argument: string, where: string): readonly Secret[] {
  const inline = inlineConfiguration(argument);
  return [
    ...secretsInValue(argument, where),
    ...(inline === undefined ? [] : secretsInConfiguration(inline, where)),
  ];
}

/** Every place that looks like a secret, in the order of the schematic; values are never part of it. */
export function findSecrets({ overlay, customization }: Schematic): readonly Secret[] {
  const { embeddedMachineConfiguration = '', extraKernelArgs = [], meta = [] } = customization;
  const found = [
    ...secretsInValue(overlay?.image ?? '', 'overlay.image'),
    ...secretsInValue(overlay?.name ?? '', 'overlay.name'),
    ...secretsInValue(overlay?.options ?? null, 'overlay.options'),
    ...secretsInConfiguration(embeddedMachineConfiguration, 'customization.embeddedMachineConfiguration'),
    ...extraKernelArgs.flatMap((argument, i) =>
      secretsInArgument(argument, `customization.extraKernelArgs[${i}]`),
    ),
    ...meta.flatMap(({ value }, i) => secretsInConfiguration(value, `customization.meta[${i}].value`)),
  ];
  const unique = new Map(found.map((secret) => [`${secret.where} ${secret.what}`, secret]));
  return [...unique.values()];
}

/**
 * Those in the text of a schematic. A text that this package cannot read, since the factory takes more and writes some
 * that it cannot read itself, is searched as text.
 */
export function findSecretsInText(text: Uint8Array): readonly Secret[] {
  let schematic: Schematic;
  try {
    schematic = decodeSchematic(text);
  } catch (error) {
    if (!(error instanceof TalosError)) throw error;
    return secretsInConfiguration(Buffer.from(text).toString('utf8'), 'schematic');
  }
  return findSecrets(schematic);
}
