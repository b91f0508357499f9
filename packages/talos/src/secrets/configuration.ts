/** Secrets in Talos configuration: by the names of its fields, and by the form of its texts. */
import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import { TalosError } from '../errors.ts';
import { Timestamp, YamlMap, type YamlValue } from '../yaml/go/value.ts';
import { YamlText } from '../yaml/text.ts';
import { secretsInText } from './text.ts';

export interface Secret {
  /** The field, such as `customization.extraKernelArgs[0]`. */
  readonly where: string;
  /** What kind, for people: `a join token`. Never the value. */
  readonly what: string;
}

const bounds = { maxBytes: 4 * 1024 * 1024, maxDepth: 100 };

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
export function secretsInValue(value: YamlValue, where: string): readonly Secret[] {
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
    const documents = new YamlText(text, bounds, () => '').documents();
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
export function secretsInConfiguration(text: string, where: string): readonly Secret[] {
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
