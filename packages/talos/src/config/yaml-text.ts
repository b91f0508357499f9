/** Configuration files as text: plain values to YAML, with a comment in front. */
import { type Emittable, emitYaml, YamlStruct } from '../yaml/go/emit.ts';

/** What configuration consists of. Undefined members are left out; no text may begin with white space. */
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
  return `${head}${head === '' ? '' : '\n'}${emitYaml(emittable(value))}`;
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
