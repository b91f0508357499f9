/** The canonical form and the ID of schematics, against what the Image Factory's own library makes of them. */
import { describe, expect, it } from 'vitest';
import { schematicFrom } from '../src/schematic/encode.ts';
import { type Vector, vectorsOf } from './vectors.ts';

describe.each([
  ['schematic-vectors', 511],
  ['schematic-differential', 562],
])('vectors of the Go library: %s', (name, count) => {
  const vectors = vectorsOf(name);
  const inputOf = ({ input, base64 = '' }: Vector): string | Uint8Array =>
    input ?? Buffer.from(base64, 'base64');

  it('are all there', () => {
    expect(vectors).toHaveLength(count);
  });

  it.each(vectors.filter(({ error }) => error !== true))('$what $input $base64', (vector) => {
    const input = inputOf(vector);
    const result = schematicFrom(input);
    expect(result.canonical).toBe(vector.canonical);
    expect(result.id).toBe(vector.id);
    expect(schematicFrom(Buffer.from(input)).id).toBe(vector.id);
  });

  it.each(vectors.filter(({ error }) => error === true))('refuses $what $input $base64', (vector) => {
    expect(() => schematicFrom(inputOf(vector))).toThrow(expect.objectContaining({ code: 'BAD_SCHEMATIC' }));
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
