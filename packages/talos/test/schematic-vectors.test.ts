/** The canonical form and the ID of schematics, against what the Image Factory's own library makes of them. */
import { describe, expect, it } from 'vitest';
import { schematicFrom, schematicId, spelledSchematics } from '../src/schematic/encode.ts';
import { spellingOf, spellings } from '../src/schematic/spelling.ts';
import { spellingVectors, type Vector, vectorsOf } from './vectors.ts';

describe.each([
  { name: 'schematic-vectors', count: 511, refusedCount: 2, takenCount: 0, unreadableCount: 25 },
  { name: 'schematic-differential', count: 562, refusedCount: 102, takenCount: 4, unreadableCount: 16 },
])('vectors of the Go library: $name', ({ name, count, refusedCount, takenCount, unreadableCount }) => {
  const vectors = vectorsOf(name);
  const inputOf = ({ input, base64 = '' }: Vector): string | Uint8Array =>
    input ?? Buffer.from(base64, 'base64');
  const same = vectors.filter(({ error, refused }) => !error && !refused);
  const refused = vectors.filter((vector) => vector.refused);
  const wrong = vectors.filter(({ error, taken }) => error && !taken);
  const taken = vectors.filter((vector) => vector.taken);

  it('are all there', () => {
    expect(vectors).toHaveLength(count);
    expect([refused.length, taken.length]).toEqual([refusedCount, takenCount]);
  });

  it.each(same)('$what $input $base64', (vector) => {
    const input = inputOf(vector);
    const result = schematicFrom(input);
    expect(result.canonical).toBe(vector.canonical);
    expect(result.id).toBe(vector.id);
    expect(schematicFrom(Buffer.from(input)).id).toBe(vector.id);
  });

  it.each([...refused, ...wrong])('refuses $what $input $base64', (vector) => {
    expect(() => schematicFrom(inputOf(vector))).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
  });

  it('have texts that are read back as they are, or refused', () => {
    const unreadable = vectors.filter(({ canonical, id }) => {
      if (canonical === undefined) return false;
      try {
        expect(schematicFrom(canonical).id).toBe(id);
        return false;
      } catch (error) {
        expect(error).toMatchObject({ code: 'BAD_SCHEMATIC' });
        return true;
      }
    });
    expect(unreadable).toHaveLength(unreadableCount);
  });

  it.each(taken)('takes $what $input', (vector) => {
    expect(schematicFrom(inputOf(vector)).canonical).toMatch(/^customization: \{\}\n$|^owner: a/);
  });
});

describe('spellings of releases of the Go library', () => {
  const vectors = spellingVectors();

  it('are all there', () => {
    expect(vectors).toHaveLength(62);
    const libraries = spellings.flatMap((one) => one.libraries).sort();
    for (const { canonical } of vectors) expect(Object.keys(canonical).sort()).toEqual(libraries);
  });

  it.each(vectors)('$what $input', ({ input, canonical }) => {
    for (const spelling of spellings) {
      for (const library of spelling.libraries) {
        expect(schematicFrom(input, spelling).canonical, library).toBe(canonical[library]);
      }
    }
  });

  it.each(vectors)('one entry for each ID: $what $input', ({ input, canonical }) => {
    const { schematic, id } = schematicFrom(input);
    const spelled = spelledSchematics(schematic);
    expect(new Set(spelled.map((one) => one.id))).toEqual(
      new Set(Object.values(canonical).map((text) => schematicId(text))),
    );
    expect(spelled.find(({ factories }) => factories.includes('1.5'))?.id).toBe(id);
    expect(spelled.flatMap(({ factories }) => factories).sort()).toEqual(
      spellings.map(({ factories }) => factories).sort(),
    );
  });

  it.each([
    ['v1.5.0', '1.5'],
    ['1.5.3', '1.5'],
    ['v1.6.0', '1.6 and later'],
    ['v2.0.0', '1.6 and later'],
    ['v1.4.0', '1.1 to 1.4'],
    ['v1.0.3', '0.9 and 1.0'],
    ['v0.8.4', '0.9 and 1.0'],
  ])('an Image Factory %s spells as %s', (version, factories) => {
    expect(spellingOf(version).factories).toBe(factories);
  });
});

describe('published IDs', () => {
  it.each([
    ['{}', '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba'],
    ['customization: {}', '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba'],
    [
      'customization: {"extraKernelArgs": []}',
      '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba',
    ],
    [
      '{"customization": {"extraKernelArgs": ["noapic", "nolapic"], "systemExtensions": {}}}',
      '9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c',
    ],
    [
      'customization: {meta: [{key: 0x0a, value: "foo"}]}',
      'd308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f',
    ],
    [
      'customization: {secureboot: {includeWellKnownCertificates: true}}',
      'fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6',
    ],
    [
      'customization: {diskImage: {sectorSize: 4096}}',
      '92833e9ddd9bb9e11b2464fa5525429f01866306d52ebd882ee08d7918f6d1ea',
    ],
    [
      'overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi}',
      'ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9',
    ],
    [
      'customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}',
      'ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515',
    ],
  ])('%s', (input, id) => {
    expect(schematicFrom(input).id).toBe(id);
  });

  it('the example of the factory API page is no vector', () => {
    expect(schematicFrom('customization:\n    extraKernelArgs:\n        - vga=791\n').id).toBe(
      'eea1f9534c46d95c4715a2f13d17eacb927c13a42ef087c79b22c3bd0c49d073',
    );
  });
});
