/**
 * Trees to values of the type a place expects. Where the library leaves a value out without an error (a null
 * for a string, say), the result is undefined; where it reports one, BAD_YAML is thrown.
 */
import { TalosError } from '../errors.ts';
import type { MappingNode, Node, ScalarNode } from './node.ts';
import { resolveScalar, tagOf } from './resolver.ts';
import { keyOf, type Scalar, Timestamp, YamlMap, type YamlValue } from './value.ts';

/** Bounds of one document with its aliases expanded (T27); far above any schematic. */
const maxValues = 50_000;
const maxDepth = 100;
const maxTextLength = 4 * 1024 * 1024;

/** Reads the value of one field. */
export type FieldReader = (node: Node) => void;

export class Constructor {
  #values = 0;
  #textLength = 0;
  #depth = 0;
  readonly #open = new Set<Node>();
  /** Keys that a merged mapping must not set again; set only while one is read. */
  #merged: Set<string> | undefined;

  fail(node: Node, what: string): TalosError {
    return new TalosError('BAD_YAML', `line ${node.line}: ${what}`);
  }

  /** Follows aliases. @throws BAD_YAML for one inside its own anchor, and beyond the bound */
  #enter<T>(node: Node, read: (target: Exclude<Node, { kind: 'alias' }>) => T): T {
    if (++this.#values > maxValues) throw this.fail(node, `more than ${maxValues} values`);
    if (++this.#depth > maxDepth) throw this.fail(node, `more than ${maxDepth} levels of nesting`);
    let result: T;
    if (node.kind === 'alias') {
      if (this.#open.has(node)) throw this.fail(node, 'an alias inside its own anchor');
      this.#open.add(node);
      result = this.#enter(node.target, read);
      this.#open.delete(node);
    } else {
      if (node.kind === 'scalar') this.#textLength += node.value.length;
      if (this.#textLength > maxTextLength) throw this.fail(node, 'too much text once aliases are expanded');
      result = read(node);
    }
    this.#depth--;
    return result;
  }

  /** A string field takes numbers and booleans as they are written, but no date. */
  string(node: Node): string | undefined {
    return this.#enter(node, (target) => {
      if (target.kind !== 'scalar') throw this.fail(node, 'a string is expected');
      const { tag, value } = resolveScalar(target);
      if (value === null) return undefined;
      if (typeof value === 'string') return value;
      if (tag === '!!timestamp') throw this.fail(node, 'a string is expected, not a date: quote it');
      return target.value;
    });
  }

  /** The text behind a type that reads itself from text. */
  text(node: Node): string | undefined {
    return this.#enter(node, (target) => {
      if (target.kind !== 'scalar') throw this.fail(node, 'a word is expected');
      const { value } = resolveScalar(target);
      if (value === null) return undefined;
      return typeof value === 'string' ? value : target.value;
    });
  }

  /** An integer from 0 to max; a floating-point number that is whole will do. */
  unsigned(node: Node, max: bigint): bigint | undefined {
    return this.#enter(node, (target) => {
      const resolved = target.kind === 'scalar' ? resolveScalar(target) : undefined;
      if (resolved?.value === null || resolved?.tag === '!!merge') return undefined;
      let value = resolved?.value;
      if (typeof value === 'number' && Number.isInteger(value)) value = BigInt(value);
      if (typeof value === 'bigint' && value >= 0n && value <= max) return value;
      throw this.fail(node, `a whole number from 0 to ${max} is expected`);
    });
  }

  /** Here, and only here, `yes`, `on` and the like are booleans, quoted or not. */
  boolean(node: Node): boolean | undefined {
    return this.#enter(node, (target) => {
      const resolved = target.kind === 'scalar' ? resolveScalar(target) : undefined;
      const value = resolved?.value;
      if (value === null || resolved?.tag === '!!merge') return undefined;
      if (typeof value === 'boolean') return value;
      if (resolved?.tag === '!!str' && typeof value === 'string') {
        if (['y', 'Y', 'yes', 'Yes', 'YES', 'on', 'On', 'ON'].includes(value)) return true;
        if (['n', 'N', 'no', 'No', 'NO', 'off', 'Off', 'OFF'].includes(value)) return false;
      }
      throw this.fail(node, 'true or false is expected');
    });
  }

  /** Undefined for null; items that are left out shorten the list. */
  list<T>(node: Node, read: (item: Node) => T | undefined): T[] | undefined {
    return this.#enter(node, (target) => {
      if (this.#isLeftOut(target)) return undefined;
      if (target.kind !== 'sequence') throw this.fail(node, 'a list is expected');
      const items: T[] = [];
      for (const item of target.items) {
        const value = read(item);
        if (value !== undefined) items.push(value);
      }
      return items;
    });
  }

  /** A mapping with known fields. False when the node is null. */
  struct(node: Node, fields: Readonly<Record<string, FieldReader>>): boolean {
    return this.#enter(node, (target) => {
      if (this.#isLeftOut(target)) return false;
      if (target.kind !== 'mapping') throw this.fail(node, 'a mapping is expected');
      this.#fields(target, fields);
      return true;
    });
  }

  #fields(node: MappingNode, fields: Readonly<Record<string, FieldReader>>): void {
    this.#checkUnique(node);
    const done = new Set<string>();
    const merge = this.#entries(node, (keyNode, valueNode, skip) => {
      const key = this.string(keyNode);
      if (key === undefined || skip(key)) return;
      const read = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (read === undefined) throw this.fail(keyNode, `unknown field ${JSON.stringify(key.slice(0, 40))}`);
      if (done.has(key)) throw this.fail(keyNode, 'a field that is already set');
      done.add(key);
      read(valueNode);
    });
    if (merge !== undefined) {
      this.#merge(node, merge, (target) =>
        this.#enter(target, (m) => m.kind === 'mapping' && this.#fields(m, fields)),
      );
    }
  }

  /** A mapping whose keys are strings. Undefined for null. */
  stringMap(node: Node): YamlMap | undefined {
    return this.#enter(node, (target) => {
      if (this.#isLeftOut(target)) return undefined;
      if (target.kind !== 'mapping') throw this.fail(node, 'a mapping is expected');
      const map = new YamlMap();
      this.#fill(target, map, (key) => this.string(key));
      return map;
    });
  }

  /** Any value, by what it looks like; undefined for the merge key where a value is expected. */
  any(node: Node): YamlValue | undefined {
    return this.#enter(node, (target) => {
      if (target.kind === 'sequence') {
        const items: YamlValue[] = [];
        for (const item of target.items) {
          const value = this.any(item);
          if (value !== undefined) items.push(value);
        }
        return items;
      }
      if (target.kind === 'mapping') {
        const map = new YamlMap();
        const strings = target.entries.every(([key]) => ['!!str', '!!merge'].includes(tagOf(key)));
        this.#fill(target, map, strings ? (key) => this.string(key) : (key) => this.#scalarKey(key));
        return map;
      }
      const { tag, value } = resolveScalar(target);
      return tag === '!!merge' ? undefined : value;
    });
  }

  #scalarKey(node: Node): Scalar | undefined {
    const key = this.any(node);
    if (typeof key === 'object' && key !== null && !(key instanceof Timestamp)) {
      throw this.fail(node, 'a list or mapping as a key');
    }
    return key;
  }

  #fill(node: MappingNode, map: YamlMap, readKey: (key: Node) => Scalar | undefined): void {
    this.#checkUnique(node);
    const merge = this.#entries(node, (keyNode, valueNode, skip) => {
      const key = readKey(keyNode);
      if (key === undefined || skip(key)) return;
      const value = this.any(valueNode);
      if (value !== undefined) map.set(key, value);
    });
    if (merge !== undefined) {
      this.#merge(node, merge, (target) =>
        this.#enter(target, (m) => m.kind === 'mapping' && this.#fill(m, map, readKey)),
      );
    }
  }

  /** Visits all but the merge key, whose value is the result. `skip` says that a mapping merged into has the key. */
  #entries(
    node: MappingNode,
    visit: (key: Node, value: Node, skip: (key: Scalar) => boolean) => void,
  ): Node | undefined {
    const merged = this.#merged;
    this.#merged = undefined;
    const skip = (key: Scalar): boolean => {
      if (merged === undefined) return false;
      const id = keyOf(key);
      if (merged.has(id)) return true;
      merged.add(id);
      return false;
    };
    let merge: Node | undefined;
    for (const [key, value] of node.entries) {
      if (isMergeKey(key)) merge = value;
      else visit(key, value, skip);
    }
    this.#merged = merged;
    return merge;
  }

  /** `<<: mapping`, an alias of one, or a list of those; what is already set stays. */
  #merge(node: MappingNode, merge: Node, apply: (mapping: Node) => void): void {
    const outer = this.#merged;
    if (outer === undefined) {
      const keys = new Set<string>();
      for (const [keyNode] of node.entries) {
        const key = this.#scalarKey(keyNode);
        if (key !== undefined) keys.add(keyOf(key));
      }
      this.#merged = keys;
    }
    for (const part of merge.kind === 'sequence' ? merge.items : [merge]) {
      if ((part.kind === 'alias' ? part.target : part).kind !== 'mapping') {
        throw this.fail(part, 'a merge key takes a mapping or a list of mappings');
      }
      apply(part);
    }
    this.#merged = outer;
  }

  #checkUnique(node: MappingNode): void {
    const seen = new Set<string>();
    for (const [key] of node.entries) {
      const id = `${key.kind} ${key.kind === 'scalar' ? key.value : key.kind === 'alias' ? key.name : ''}`;
      if (seen.has(id)) throw this.fail(key, 'a key that is already there');
      seen.add(id);
    }
  }

  /** Null, and the merge key where a value is expected. */
  #isLeftOut(node: Node): boolean {
    if (node.kind !== 'scalar') return false;
    const { tag, value } = resolveScalar(node);
    return value === null || tag === '!!merge';
  }
}

function isMergeKey(node: Node): node is ScalarNode {
  return node.kind === 'scalar' && tagOf(node) === '!!merge';
}
