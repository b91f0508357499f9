/** The documents of a YAML file as plain values, by our own parser. */
import { Composer } from '../src/yaml/composer.ts';
import { constructAny } from '../src/yaml/constructor.ts';
import { Reader } from '../src/yaml/reader.ts';
import { YamlMap, type YamlValue } from '../src/yaml/value.ts';

/** None of a file that is not there. */
export function documents(text = ''): unknown[] {
  const composer = new Composer(new Reader(text, 1024 * 1024));
  const found: unknown[] = [];
  for (let root = composer.document(); root !== undefined; root = composer.document()) {
    found.push(plain(constructAny(root) ?? null));
  }
  return found;
}

function plain(value: YamlValue): unknown {
  if (value instanceof YamlMap) {
    return Object.fromEntries(value.entries().map(([key, member]) => [String(key), plain(member)]));
  }
  if (typeof value === 'bigint') return Number(value);
  return Array.isArray(value) ? (value as readonly YamlValue[]).map(plain) : value;
}
