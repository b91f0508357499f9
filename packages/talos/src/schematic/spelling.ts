/**
 * How releases of the Image Factory spell a schematic. Its ID is the hash of that text, and the YAML library that writes
 * it has changed, so one schematic may have several IDs.
 * Sources: go.mod and pkg/schematic of siderolabs/image-factory at each tag; internal/libyaml of yaml/go-yaml at the
 * releases named (representer.go, emitter.go). Vectors: test/vectors/schematic-spellings.jsonl.
 */
import { compareVersions } from '../version.ts';
import { defaultDialect, type YamlDialect } from '../yaml/go/scalar.ts';

export interface Spelling {
  /** Releases of the Image Factory, for people: `1.1 to 1.4`. */
  readonly factories: string;
  readonly first: string;
  /** Releases of go.yaml.in/yaml/v4 that write so. */
  readonly libraries: readonly string[];
  readonly dialect: YamlDialect;
}

/** Those of Omni's time; 0.8 and older used gopkg.in/yaml.v3. Newest first. */
export const spellings: readonly Spelling[] = [
  {
    // Expected: 1.5 is the newest that this program knows, and its library has been released since.
    factories: '1.6 and later',
    first: 'v1.6.0',
    libraries: ['v4.0.0-rc.7', 'v4.0.0'],
    dialect: { oldWords: 'double', literalHint: 'relative', spacedLiterals: true },
  },
  {
    // Its go.mod names a commit between rc.6 and rc.7, 643e93b9c9be. Omni replaces that very commit by one that includes
    // yaml/go-yaml#380, the change of oldWords, so it does not have it.
    factories: '1.5',
    first: 'v1.5.0',
    libraries: ['v4.0.0-rc.6'],
    dialect: defaultDialect,
  },
  {
    factories: '1.1 to 1.4',
    first: 'v1.1.0',
    libraries: ['v4.0.0-rc.4'],
    dialect: { ...defaultDialect, oldWords: 'double' },
  },
  {
    factories: '0.9 and 1.0',
    first: 'v0.9.0',
    libraries: ['v4.0.0-rc.3'],
    dialect: { ...defaultDialect, oldWords: 'double', literalHint: 'space-or-break' },
  },
];

/** The newest release of the Image Factory that this program knows. */
export const knownFactory = 'v1.5.0';

/**
 * Spelling of an Image Factory; of the oldest in the table for an older one.
 * @param version such as `v1.5.0` @throws BAD_VERSION
 */
export function spellingOf(version: string): Spelling {
  const found = spellings.find(({ first }) => compareVersions(version, first) >= 0);
  return found ?? (spellings.at(-1) as Spelling);
}
