/** Configuration files as text: plain values to YAML, with a comment in front. */
import { type Emittable, emitYaml, YamlStruct } from '../yaml/emitter.ts';

/** What configuration consists of. Undefined members are left out. */
export type Plain =
  | string
  | number
  | boolean
  | readonly Plain[]
  | { readonly [key: string]: Plain | undefined };

/** One YAML document. */
export function yamlText(value: Plain, comment = ''): string {
  const lines = comment === '' ? [] : comment.trim().split('\n');
  const head = lines.map((line) => `# ${line}`.trimEnd()).join('\n');
  // Words of YAML 1.1 in double quotes: the file is read by parsers of both versions.
  return `${head}${head === '' ? '' : '\n'}${emitYaml(emittable(value), { words: 'double', blocks: 'wide' })}`;
}

/** Several documents in one file. */
export function yamlDocuments(documents: readonly string[]): string {
  return documents.join('---\n');
}

function emittable(value: Plain): Emittable {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return (value as readonly Plain[]).map(emittable);
  const entries = Object.entries(value as Readonly<Record<string, Plain | undefined>>);
  return new YamlStruct(
    entries.flatMap(([key, member]) => (member === undefined ? [] : [[key, emittable(member)] as const])),
  );
}
