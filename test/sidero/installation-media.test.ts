/** Commands and configuration of installation-media.txt in the eyes of the real omnictl and talosctl. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HandoffInput, handoffFiles } from '../../packages/talos/src/index.ts';
import { full } from '../../packages/talos/test/handoff-sample.ts';
import { command } from '../services/command.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { type Certificates, makeCertificates } from '../services/tls.ts';
import { describeSidero } from './programs.ts';

const textOf = (name: string, input: Partial<HandoffInput> = {}): string =>
  handoffFiles({ ...full, ...input }).find((file) => file.name === name)?.text ?? expect.fail(name);

describeSidero(['omnictl'], describeWith, [], ({ omnictl }) => {
  const folder = temporaryFolder('omnictl');
  const config = join(folder, 'config');
  // Nothing answers there: a command that is understood ends with that.
  const run = (args: string): Promise<string> => {
    writeFileSync(config, 'contexts: {default: {url: "https://127.0.0.1:1"}}\ncontext: default\n');
    const script = `"$0" --omniconfig "$1" --siderov1-keys-dir . ${args}`;
    return command('sh', ['-c', script, omnictl, config], folder).catch((error: unknown) => String(error));
  };

  test.each(['v1.10.4', 'v1.8.0', 'v1.7.0'])(
    'commands for Omni %s have the flags of this omnictl',
    async (omniVersion) => {
      const text = textOf('installation-media.txt', { omniVersion, talosVersions: ['v1.13.9'] });
      const commands = [...text.matchAll(/\bomnictl ((?:media|jointoken|download) [^#;)\n]*)/g)].map(
        ([, args = '']) => args.replaceAll(/"\$\(tail .*/g, '"a=b"').replace(/ > \S+$/, ''),
      );
      expect(commands.length).toBeGreaterThan(2);
      for (const args of commands)
        expect([args, await run(args)]).toEqual([args, expect.stringContaining('refused')]);
    },
  );

  test('it would say so of a flag that it has not', async () => {
    expect(await run('media preset create x --embed y')).toContain('unknown flag');
  });
});

describeSidero(['talosctl'], describeWith, ['openssl'], ({ talosctl }) => {
  const folder = temporaryFolder('join-config');
  let certificates: Certificates;
  beforeAll(async () => {
    certificates = await makeCertificates('omni.site');
  });
  afterAll(() => certificates?.dispose());

  test('the authority together with what omnictl jointoken machine-config prints is valid', async () => {
    // Source: siderolabs/omni client/pkg/siderolink/siderolink.go, JoinConfigDocuments.
    const ofOmni = [
      'apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: https://omni.site:8090/?jointoken=w7uVuW3zbVKIYQuzEcyetAHeYMeo5q2L',
      "apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[fdae:41e4:649b:9303::1]:8091'",
      "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: omni-kmsg\nurl: 'tcp://[fdae:41e4:649b:9303::1]:8092'",
    ];
    const embedded = textOf('embedded-config.yaml', { ca: certificates.ca });
    const file = join(folder, 'join-config.yaml');
    writeFileSync(file, [embedded.trimEnd(), ...ofOmni].join('\n---\n'));
    const validate = ['validate', '--config', file, '--mode', 'metal', '--strict'];
    expect(await command(talosctl, validate, folder)).toContain('is valid');
  });
});
