/** Catalogs of extensions and overlays. */
import { describe, expect, it } from 'vitest';
import { parseImageDigests, parseOverlays } from '../src/images/catalog.ts';

const digest = `sha256:${'ab'.repeat(32)}`;
const bad = expect.objectContaining({ code: 'BAD_IMAGE' });

describe('image-digests', () => {
  it('gives name, reference and digest of each line', () => {
    const text = `ghcr.io/siderolabs/iscsi-tools:v0.2.0@${digest}\r\n\nno image\nghcr.io/siderolabs/zfs:2.3.3-v1.13.9@${digest}\n`;
    expect(parseImageDigests(text)).toEqual([
      { name: 'siderolabs/iscsi-tools', reference: 'ghcr.io/siderolabs/iscsi-tools:v0.2.0', digest },
      { name: 'siderolabs/zfs', reference: 'ghcr.io/siderolabs/zfs:2.3.3-v1.13.9', digest },
    ]);
  });

  it.each([
    ['nothing', ''],
    ['no tag', `ghcr.io/siderolabs/a@${digest}`],
    ['no host', `a:v1@${digest}`],
    ['upper-case digest', `ghcr.io/siderolabs/a:v1@${digest.toUpperCase()}`],
    ['T22 another algorithm', `ghcr.io/siderolabs/a:v1@sha512:${'ab'.repeat(64)}`],
    ['path in the digest', 'ghcr.io/siderolabs/a:v1@sha256:../../x'],
    ['path in the name', `ghcr.io/../a:v1@${digest}`],
    ['the same image twice', `ghcr.io/s/a:v1@${digest}\nghcr.io/s/a:v1@${digest}`],
    ['too many', Array.from({ length: 10_001 }, (_, i) => `ghcr.io/s/a${i}:v1@${digest}`).join('\n')],
    ['too large', 'x'.repeat(4 * 1024 * 1024 + 1)],
    ['T26 a long name', `ghcr.io/${'a-'.repeat(100_000)}:v1@${digest}`],
  ])('%s is refused', (_, text) => {
    expect(() => parseImageDigests(text)).toThrow(bad);
  });
});

describe('overlays.yaml', () => {
  it('gives name, reference and digest; overlays may share an image', () => {
    const image = 'ghcr.io/siderolabs/sbc-rockchip:v0.1.3';
    const text = `overlays:\n${['rock4cplus', 'turingrk1'].map((name) => `  - name: ${name}\n    image: ${image}\n    digest: ${digest}\n`).join('')}`;
    expect(parseOverlays(text)).toEqual([
      { name: 'rock4cplus', reference: image, digest },
      { name: 'turingrk1', reference: image, digest },
    ]);
  });

  it.each([
    ['nothing', ''],
    ['no list', 'overlays: {}'],
    ['an empty list', 'overlays: []'],
    ['text', 'overlays'],
    ['no digest', 'overlays: [{name: a, image: ghcr.io/s/a:v1}]'],
    ['a name with a path', `overlays: [{name: ../a, image: "ghcr.io/s/a:v1", digest: "${digest}"}]`],
    ['no tag', `overlays: [{name: a, image: ghcr.io/s/a, digest: "${digest}"}]`],
    ['one name twice', `overlays: [&a {name: a, image: "ghcr.io/s/a:v1", digest: "${digest}"}, *a]`],
    ['T27 duplicate keys', 'overlays: []\noverlays: []'],
    ['no YAML', '{'],
  ])('%s is refused', (_, text) => {
    expect(() => parseOverlays(text)).toThrow(bad);
  });
});
