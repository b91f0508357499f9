/** Addresses of an Image Factory. */
import { describe, expect, it } from 'vitest';
import {
  imagePath,
  installerRepository,
  isTalosctlName,
  officialPath,
  parseInstallerRepository,
  pxePath,
  schematicPath,
  talosctlPath,
} from '../src/factory.ts';

const id = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const code = (expected: string): unknown => expect.objectContaining({ code: expected });

describe('paths of the factory', () => {
  it('are the keys of the object store', () => {
    expect(schematicPath(id)).toBe(`schematics/${id}`);
    expect(imagePath(id, '1.13.9', 'metal-amd64.iso')).toBe(`image/${id}/v1.13.9/metal-amd64.iso`);
    expect(pxePath(id, 'v1.13.9', { platform: 'metal', arch: 'amd64', secureboot: true })).toBe(
      `pxe/${id}/v1.13.9/metal-amd64-secureboot`,
    );
    expect(officialPath('v1.13.9', 'extensions')).toBe('version/v1.13.9/extensions/official');
    expect(officialPath('v1.13.9', 'overlays')).toBe('version/v1.13.9/overlays/official');
    expect(talosctlPath('v1.13.9', 'talosctl-windows-amd64.exe')).toBe(
      'talosctl/v1.13.9/talosctl-windows-amd64.exe',
    );
  });

  it('T50 take nothing but what their grammars allow', () => {
    expect(() => schematicPath('../x')).toThrow(code('BAD_SCHEMATIC'));
    expect(() => imagePath(id.toUpperCase(), 'v1.13.9', 'metal-amd64.iso')).toThrow(code('BAD_SCHEMATIC'));
    expect(() => imagePath(id, '../v1.13.9', 'metal-amd64.iso')).toThrow(code('BAD_VERSION'));
    expect(() => imagePath(id, 'v1.13.9', '../metal-amd64.iso')).toThrow(code('BAD_MEDIA_NAME'));
    expect(() => talosctlPath('v1.13.9', 'talosctl-linux-amd64/..')).toThrow(code('BAD_MEDIA_NAME'));
    expect(isTalosctlName('talosctl-darwin-arm64')).toBe(true);
    expect(isTalosctlName('talosctl-linux')).toBe(false);
  });
});

describe('installer repositories', () => {
  it.each([
    ['installer', { secureboot: false }],
    ['installer-secureboot', { secureboot: true }],
    ['metal-installer', { platform: 'metal', secureboot: false }],
    ['digital-ocean-installer-secureboot', { platform: 'digital-ocean', secureboot: true }],
  ])('%s', (name, installer) => {
    expect(installerRepository(installer)).toBe(name);
    expect(parseInstallerRepository(name)).toEqual(installer);
  });

  it.each([
    '',
    'installers',
    'Metal-installer',
    'a/installer',
    '-installer',
    'installer-',
    `${'a'.repeat(101)}-installer`,
  ])('%j is none', (name) => {
    expect(parseInstallerRepository(name)).toBeUndefined();
  });

  it('refuse what is no platform', () => {
    expect(() => installerRepository({ platform: '../x', secureboot: false })).toThrow(
      code('BAD_MEDIA_NAME'),
    );
  });
});
