/** The ways to boot machines that join and install: which exist for a site, and the installers that Omni requests then. */
import { describe, expect, test } from 'vitest';
import { handoffFiles } from '../src/handoff/files.ts';
import type { CarriedSchematic, HandoffInput } from '../src/handoff/input.ts';
import {
  carriedSchematicName,
  installationMediaText,
  missingInstallers,
  schematicWithCa,
} from '../src/handoff/join.ts';
import { schematicFrom, spelledSchematics } from '../src/schematic/encode.ts';
import { findSecrets } from '../src/schematic/secrets.ts';
import { documents } from './documents.ts';
import { bare, ca, full } from './handoff-sample.ts';

const plain = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const media = (version: string, installers: readonly string[] = [], id = plain): CarriedSchematic => ({
  id,
  version,
  hasMedia: true,
  installers,
});
/** No Image Factory: what was carried, and nothing else. */
const { factoryVersion: _, ...withoutFactory } = full;
const carriedOnly: HandoffInput = { ...withoutFactory, sources: [] };

/** Letters of the ways that a version has. */
function ways(input: HandoffInput, version: string): string {
  const text = installationMediaText({ ...input, talosVersions: [version] });
  return [...text.matchAll(/^(?:v\S+| {12}) +([A-E]) {2}.* (?:yes)$/gm)].map(([, letter]) => letter).join('');
}

describe('ways by Talos version', () => {
  test.each([
    ['v1.13.9', 'ABCDE', 'CD'],
    ['v1.12.0', 'ABCDE', 'CD'],
    ['v1.11.6', 'BCDE', 'CD'],
    ['v1.10.7', 'DE', 'D'],
    ['v1.9.5', 'DE', 'D'],
  ])(
    '%s: %s with an Image Factory that builds it, %s with carried media alone',
    (version, built, carried) => {
      expect(ways({ ...full, sources: [version], carried: [] }, version)).toBe(built);
      expect(ways({ ...carriedOnly, carried: [media(version)] }, version)).toBe(carried);
      expect(ways({ ...carriedOnly, carried: [] }, version)).toBe('');
    },
  );

  test('an authority that everyone trusts needs no argument, so older versions boot by PXE too', () => {
    const { ca: _ca, ...open } = full;
    expect(ways({ ...open, carried: [media('v1.10.7')], sources: [] }, 'v1.10.7')).toBe('CD');
    const text = installationMediaText({ ...open, talosVersions: ['v1.13.9'] });
    expect(text).not.toMatch(/early-argument\.txt|embedded-config\.yaml/);
  });

  test('an authority that the kernel would cut off is no argument', () => {
    const random = Array.from({ length: 200 }, (_one, i) =>
      Buffer.from(String(Math.sin(i) * 1e16)).toString('base64'),
    ).join('');
    const long = `-----BEGIN CERTIFICATE-----\n${random}\n-----END CERTIFICATE-----\n`;
    expect(ways({ ...full, ca: long, sources: ['v1.13.9'] }, 'v1.13.9')).toBe('ADE');
  });

  test('the bytes of the argument are counted', () => {
    const argument = handoffFiles(full)
      .find(({ name }) => name === 'early-argument.txt')
      ?.text.trim()
      .split('\n')
      .at(-1);
    expect(installationMediaText(full)).toContain(`${argument?.length} bytes with this authority`);
  });
});

describe('the installer that Omni requests', () => {
  const requested = (input: HandoffInput): readonly string[] =>
    [...installationMediaText(input).matchAll(/^ {9}(factory\.site\S+)\n {9}from: (.*)$/gm)].map(
      ([, reference, from]) => `${reference} | ${from}`,
    );

  test('with an Image Factory that builds the version, it builds the installer', () => {
    const input = { ...full, talosVersions: ['v1.13.9'], carried: [media('v1.13.9')], sources: ['v1.13.9'] };
    const built = 'the Image Factory builds it when it is first pulled';
    expect(requested(input)).toEqual([
      `factory.site:8080/metal-installer/ID:v1.13.9 | ${built}`,
      `factory.site:8080/metal-installer/${plain}:v1.13.9 | ${built}`,
    ]);
    expect(missingInstallers(input)).toEqual([]);
  });

  test('without one, it is the carried one, found by the mirror; below Talos 1.10 under its old name', () => {
    const carried = [
      media('v1.13.9', ['metal-installer', 'metal-installer-secureboot']),
      media('v1.9.5', ['metal-installer', 'installer']),
    ];
    const registry = { ...full.registry, prefix: 'air', keepHost: true };
    const input = { ...carriedOnly, registry, talosVersions: ['v1.13.9'], carried };
    expect(requested(input).slice(1)).toEqual([
      `factory.site:8080/metal-installer/${plain}:v1.13.9 | loaded: machines find registry.site:5000/air/factory.talos.dev/metal-installer/${plain}:v1.13.9 by the mirror in the patch`,
      `factory.site:8080/installer/${plain}:v1.9.5 | loaded: machines find registry.site:5000/air/factory.talos.dev/installer/${plain}:v1.9.5 by the mirror in the patch`,
    ]);
    expect(missingInstallers(input)).toEqual([]);
    const patch = handoffFiles(input).find(({ name }) => name === 'air-gap-patch.yaml')?.text;
    expect(documents(patch)).toContainEqual(
      expect.objectContaining({
        name: 'factory.site:8080',
        endpoints: [{ url: 'https://registry.site:5000/v2/air/factory.talos.dev', overridePath: true }],
      }),
    );
  });

  test('a carried one is of no use behind an Image Factory that does not build its version', () => {
    const input = { ...full, carried: [media('v1.11.6', ['metal-installer'])], sources: ['v1.13.9'] };
    expect(missingInstallers(input)).toEqual([
      expect.stringMatching(/carry what the Image Factory builds it from: v1\.11\.6 in talos\.versions/),
    ]);
    const patch = handoffFiles(input).find(({ name }) => name === 'air-gap-patch-1.11.yaml')?.text;
    expect(patch).not.toContain('factory.site:8080');
  });

  test('one that nobody hands out is named with what to carry, in README.txt first of all', () => {
    const input = { ...carriedOnly, talosVersions: ['v1.13.9'], carried: [media('v1.13.9')] };
    expect(requested(input)).toEqual([
      'factory.site:8080/metal-installer/ID:v1.13.9 | NOBODY: nothing here builds it; carry talos.imageFactory and v1.13.9 in talos.versions of mirror.yaml',
      `factory.site:8080/metal-installer/${plain}:v1.13.9 | NOBODY: carry it: installers: [metal] beside schematic ${plain} in mirror.yaml`,
    ]);
    const readme = handoffFiles(input).find(({ name }) => name === 'README.txt')?.text ?? '';
    expect(readme).toMatch(
      new RegExp(
        `^Before anything else.*\\n-+\\n(?:.*\\n)*- factory\\.site:8080/metal-installer/${plain}:v1\\.13\\.9: machines that boot`,
      ),
    );
    // Media for people who run no Omni have no installer to miss.
    const { omniVersion: _omni, site: _site, ...others } = input;
    expect(missingInstallers({ ...others, site: {} })).toEqual([]);
  });
});

describe('a schematic to carry that trusts the site', () => {
  test('embeds the authority, has no secret, and is offered where nothing builds', () => {
    const { schematic, id } = schematicFrom(schematicWithCa(ca));
    expect(documents(schematic.customization.embeddedMachineConfiguration)).toEqual([
      { apiVersion: 'v1alpha1', kind: 'TrustedRootsConfig', name: 'site-ca', certificates: ca },
    ]);
    expect(findSecrets(schematic)).toEqual([]);
    // Whatever release the public factory has: the ID that is named here is the one it gives.
    expect(spelledSchematics(schematic).map((one) => one.id)).toEqual([id]);
    const input = { ...carriedOnly, talosVersions: ['v1.13.9'], carried: [] };
    const text = installationMediaText(input);
    expect(text).toContain(`installer factory.site:8080/metal-installer/${id}:v1.13.9`);
    expect(text).toContain(`- schematic: ${carriedSchematicName}`);
    const loaded = installationMediaText({
      ...input,
      carried: [media('v1.13.9'), media('v1.13.9', ['metal-installer'], id)],
    });
    expect(loaded).toContain('It was loaded');
    // Its kernel and initramfs are booted, and the arguments need no authority.
    expect(loaded).toContain(`/image/${id}/v1.13.9/kernel-amd64`);
    expect(loaded).not.toContain('tail -n 1 early-argument.txt');
    expect(installationMediaText(full)).not.toContain(carriedSchematicName);
  });
});

test('what is not loaded cannot be booted', () => {
  expect(installationMediaText(bare)).toMatch(/No Talos version was loaded/);
});
