/**
 * Trees to values of the type a place expects. Where the library leaves a value out without an error (a null
 * for a string, say), the result is undefined. What does not fit is collected and thrown at the end, in the words of
 * the library without the values, which may be secret; what it cannot go on from is thrown at once.
 * Source: yaml/go-yaml 1c17b9c internal/libyaml/constructor.go.
 */
import { quoted, TalosError } from '../errors.ts';
import {
  type ContentNode,
  type MappingNode,
  maxDepth,
  maxValues,
  type Node,
  type ScalarNode,
} from './node.ts';
import { resolveScalar, tagOf } from './resolver.ts';
import { type Identity, identityOf, type Scalar, Timestamp, YamlMap, type YamlValue } from './value.ts';

/** Characters of all scalars with aliases expanded (T27); the library has no such bound. */
const maxTextLength = 16 * 1024 * 1024;
const maxErrors = 20;

/** Reads the value of one field. */
export type FieldReader = (node: Node) => void;

/**
 * @param read what to make of the document, by the methods of the constructor
 * @throws BAD_YAML with all that did not fit
 */
export function construct<T>(read: (yaml: Constructor) => T): T {
  const yaml = new Constructor();
  const value = read(yaml);
  yaml.finish();
  return value;
}

/** A document as any value. @throws BAD_YAML */
export function constructAny(root: Node): YamlValue | undefined {
  return construct((yaml) => yaml.any(root));
}

/** A name from the input, in a message. */
const named = (text: string): string => (/^[!-~]{1,80}$/.test(text) ? text : quoted(text));

/** The share of values that may come from aliases: less, the more there are. */
function allowedAliases(values: number): number {
  const [low, high] = [400_000, 4_000_000];
  return 0.99 - 0.89 * Math.min(Math.max((values - low) / (high - low), 0), 1);
}

export class Constructor {
  /** The document itself is the first. */
  #values = 1;
  #aliased = 0;
  #aliasDepth = 0;
  #textLength = 0;
  #depth = 0;
  readonly #errors: string[] = [];
  readonly #open = new Set<Node>();
  /** Keys that a merged mapping must not set again; set only while one is read. */
  #merged: Set<Identity> | undefined;

  /** @throws BAD_YAML with what was reported */
  finish(): void {
    if (this.#errors.length === 0) return;
    throw new TalosError('BAD_YAML', `yaml: construct errors: ${this.#errors.join('; ')}`);
  }

  /** Notes what is wrong at the node; its value is left out. */
  report(node: Node, what: string): undefined {
    this.#errors.push(`line ${node.line}: ${what}`);
    if (this.#errors.length >= maxErrors) this.finish();
  }

  #mismatch(node: Node, type: string): undefined {
    return this.report(node, `cannot construct ${tagOf(node)} into ${type}`);
  }

  #fail(node: Node, what: string): TalosError {
    return new TalosError('BAD_YAML', `line ${node.line}: ${what}`);
  }

  /** Goes to the node, or to what an alias stands for. @throws BAD_YAML for an alias inside its own anchor */
  #begin(node: Node): ContentNode {
    this.#count(node);
    if (++this.#depth > maxDepth) throw this.#fail(node, `more than ${maxDepth} levels of nesting`);
    if (node.kind !== 'alias') return node;
    if (this.#open.has(node)) throw this.#fail(node, `anchor ${quoted(node.name)} value contains itself`);
    this.#open.add(node);
    this.#aliasDepth++;
    this.#count(node.target);
    return node.target;
  }

  #end(node: Node): void {
    this.#depth--;
    if (node.kind !== 'alias') return;
    this.#aliasDepth--;
    this.#open.delete(node);
  }

  #read<T>(node: Node, read: (target: ContentNode) => T): T {
    const value = read(this.#begin(node));
    this.#end(node);
    return value;
  }

  #count(node: Node): void {
    this.#values++;
    if (this.#aliasDepth > 0) this.#aliased++;
    if (
      this.#values > 1000 &&
      this.#aliased > 100 &&
      this.#aliased / this.#values > allowedAliases(this.#values)
    ) {
      throw this.#fail(node, 'document contains excessive aliasing');
    }
    if (node.kind === 'scalar') this.#textLength += node.value.length;
    if (this.#values > maxValues || this.#textLength > maxTextLength) {
      throw this.#fail(
        node,
        `more than ${maxValues} values or ${maxTextLength} characters once aliases are expanded`,
      );
    }
  }

  /** A string field takes numbers and booleans as they are written, but no date. */
  string(node: Node): string | undefined {
    return this.#read(node, (target) => {
      if (target.kind !== 'scalar') return this.#mismatch(target, 'string');
      const { tag, value } = resolveScalar(target);
      if (value === null) return undefined;
      if (typeof value === 'string') return value;
      if (tag === '!!timestamp') return this.#mismatch(target, 'string');
      return target.value;
    });
  }

  /** The text behind a type that reads itself from text. */
  text(node: Node, type: string): string | undefined {
    return this.#read(node, (target) => {
      if (target.kind !== 'scalar') return this.#mismatch(target, `${type} (TextUnmarshaler)`);
      const { value } = resolveScalar(target);
      if (value === null) return undefined;
      return typeof value === 'string' ? value : target.value;
    });
  }

  /** An integer of so many bits from 0 on; a floating-point number that is whole will do. */
  unsigned(node: Node, type: 'uint' | 'uint8'): bigint | undefined {
    const max = 2n ** (type === 'uint' ? 64n : 8n) - 1n;
    return this.#read(node, (target) => {
      const resolved = target.kind === 'scalar' ? resolveScalar(target) : undefined;
      if (resolved?.value === null || resolved?.tag === '!!merge') return undefined;
      let value = resolved?.value;
      if (typeof value === 'number' && Number.isInteger(value)) value = BigInt(value);
      if (typeof value === 'bigint' && value >= 0n && value <= max) return value;
      return this.#mismatch(target, type);
    });
  }

  /** Here, and only here, `yes`, `on` and the like are booleans, quoted or not. */
  boolean(node: Node): boolean | undefined {
    return this.#read(node, (target) => {
      const resolved = target.kind === 'scalar' ? resolveScalar(target) : undefined;
      const value = resolved?.value;
      if (value === null || resolved?.tag === '!!merge') return undefined;
      if (typeof value === 'boolean') return value;
      if (resolved?.tag === '!!str' && typeof value === 'string') {
        if (['y', 'Y', 'yes', 'Yes', 'YES', 'on', 'On', 'ON'].includes(value)) return true;
        if (['n', 'N', 'no', 'No', 'NO', 'off', 'Off', 'OFF'].includes(value)) return false;
      }
      return this.#mismatch(target, 'bool');
    });
  }

  /** Undefined for null; items that are left out shorten the list. */
  list<T>(node: Node, type: string, read: (item: Node) => T | undefined): T[] | undefined {
    return this.#read(node, (target) => {
      if (this.#isLeftOut(target)) return undefined;
      if (target.kind !== 'sequence') return this.#mismatch(target, `[]${type}`);
      const items: T[] = [];
      for (const item of target.items) {
        const value = read(item);
        if (value !== undefined) items.push(value);
      }
      return items;
    });
  }

  /** A mapping with known fields. False when the node is null or no mapping. */
  struct(node: Node, type: string, fields: Readonly<Record<string, FieldReader>>): boolean {
    return this.#read(node, (target) => {
      if (this.#isLeftOut(target)) return false;
      if (target.kind === 'mapping') return this.#fields(target, type, fields);
      this.#mismatch(target, type);
      return false;
    });
  }

  #fields(node: MappingNode, type: string, fields: Readonly<Record<string, FieldReader>>): boolean {
    if (!this.#isUnique(node)) return false;
    const done = new Set<string>();
    const merged = this.#takeMerged();
    for (const [keyNode, valueNode] of node.entries) {
      if (isMergeKey(keyNode)) continue;
      const key = this.string(keyNode);
      if (key === undefined || isMerged(merged, key)) continue;
      const read = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (read === undefined) this.report(keyNode, `field ${named(key)} not found in type ${type}`);
      else if (done.has(key)) this.report(keyNode, `field ${key} already set in type ${type}`);
      else {
        done.add(key);
        read(valueNode);
      }
    }
    this.#merged = merged;
    this.#merge(node, (mapping) => this.#fields(mapping, type, fields));
    return true;
  }

  /** A mapping whose keys are strings. Undefined for null. */
  stringMap(node: Node): YamlMap | undefined {
    return this.#read(node, (target) => {
      if (this.#isLeftOut(target)) return undefined;
      if (target.kind !== 'mapping') return this.#mismatch(target, 'map[string]interface {}');
      const map = new YamlMap();
      this.#fill(target, map, true);
      return map;
    });
  }

  /** Any value, by what it looks like; undefined for the merge key where a value is expected. */
  any(node: Node): YamlValue | undefined {
    // Not by #read, as nesting would take twice as much of the stack.
    const target = this.#begin(node);
    let value: YamlValue | undefined;
    if (target.kind === 'mapping') {
      value = new YamlMap();
      const hasStrings = target.entries.every(([key]) => ['!!str', '!!merge'].includes(tagOf(key)));
      this.#fill(target, value, hasStrings);
    } else if (target.kind === 'sequence') {
      const items: YamlValue[] = [];
      for (const part of target.items) {
        const item = this.any(part);
        if (item !== undefined) items.push(item);
      }
      value = items;
    } else {
      const resolved = resolveScalar(target);
      value = resolved.tag === '!!merge' ? undefined : resolved.value;
    }
    this.#end(node);
    return value;
  }

  #scalarKey(node: Node): Scalar | undefined {
    const key = this.any(node);
    if (typeof key === 'object' && key !== null && !(key instanceof Timestamp)) {
      throw this.#fail(node, 'a list or mapping as a key');
    }
    return key;
  }

  #fill(node: MappingNode, map: YamlMap, hasStrings: boolean): void {
    if (!this.#isUnique(node)) return;
    const merged = this.#takeMerged();
    for (const [keyNode, valueNode] of node.entries) {
      if (isMergeKey(keyNode)) continue;
      const key = hasStrings ? this.string(keyNode) : this.#scalarKey(keyNode);
      if (key === undefined || isMerged(merged, key)) continue;
      const value = this.any(valueNode);
      if (value !== undefined) map.set(key, value);
    }
    this.#merged = merged;
    this.#merge(node, (mapping) => this.#fill(mapping, map, hasStrings));
  }

  /** What is merged is this mapping alone, not those in it. */
  #takeMerged(): Set<Identity> | undefined {
    const merged = this.#merged;
    this.#merged = undefined;
    return merged;
  }

  /** `<<: mapping`, an alias of one, or a list of those; what is already set stays. Only the last such key counts. */
  #merge(node: MappingNode, apply: (mapping: MappingNode) => void): void {
    const merge = node.entries.findLast(([key]) => isMergeKey(key))?.[1];
    if (merge === undefined) return;
    const outer = this.#merged;
    if (outer === undefined) {
      const keys = new Set<Identity>();
      for (const [keyNode] of node.entries) {
        const key = this.#scalarKey(keyNode);
        if (key !== undefined) keys.add(identityOf(key));
      }
      this.#merged = keys;
    }
    for (const part of merge.kind === 'sequence' ? merge.items : [merge]) {
      const mapping = this.#begin(part);
      if (mapping.kind !== 'mapping') {
        throw this.#fail(part, 'map merge requires map or sequence of maps as the value');
      }
      apply(mapping);
      this.#end(part);
    }
    this.#merged = outer;
  }

  #isUnique(node: MappingNode): boolean {
    const seen = new Map<string, Node>();
    let isUnique = true;
    for (const [key] of node.entries) {
      const text = key.kind === 'scalar' ? key.value : key.kind === 'alias' ? key.name : '';
      const id = `${key.kind} ${text}`;
      const first = seen.get(id);
      if (first === undefined) seen.set(id, key);
      else {
        this.report(key, `mapping key ${quoted(text)} already defined at line ${first.line}`);
        isUnique = false;
      }
    }
    return isUnique;
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

/** True when a mapping merged into has the key; from now on it has. */
function isMerged(merged: Set<Identity> | undefined, key: Scalar): boolean {
  if (merged === undefined) return false;
  const id = identityOf(key);
  if (merged.has(id)) return true;
  merged.add(id);
  return false;
}
