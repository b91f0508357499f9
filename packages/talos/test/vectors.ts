/** Vectors of the Image Factory's library; vectors/README.md says how they were made. */
import { readFileSync } from 'node:fs';

export interface Vector {
  readonly what?: string;
  readonly input?: string;
  /** In place of `input` where that is no text. */
  readonly base64?: string;
  readonly canonical?: string;
  readonly id?: string;
  readonly error?: true;
  /** The library takes it, this package does not. */
  readonly refused?: true;
  /** The library refuses it, this package does not. */
  readonly taken?: true;
}

export const vectorsOf = (name: string): readonly Vector[] => linesOf<Vector>(name);

export interface SpellingVector {
  readonly what?: string;
  readonly input: string;
  /** By release of the library. */
  readonly canonical: Readonly<Record<string, string>>;
}

export const spellingVectors = (): readonly SpellingVector[] =>
  linesOf<SpellingVector>('schematic-spellings');

function linesOf<T>(name: string): readonly T[] {
  return readFileSync(new URL(`./vectors/${name}.jsonl`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}
