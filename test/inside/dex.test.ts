/**
 * dex with the hand-off's dex.yaml and the variables of site init: its health check answers, and the first user gets in
 * with the password that was generated. dex is no Debian package: it runs where it is on PATH or in the folder DEX_BIN.
 * To make it: `go build ./cmd/dex` in dexidp/dex. Seen with 2.41.1.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { dexConfig } from '../../packages/talos/src/handoff/compose.ts';
import { parseSite } from '../../packages/talos/src/index.ts';
import { bare } from '../../packages/talos/test/handoff-sample.ts';
import { command } from '../services/command.ts';
import { findProgram } from '../services/found-program.ts';
import { freePorts, startProcess } from '../services/server-process.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli } from '../support/cli.ts';

const title = 'dex takes the hand-off, answers its health check, and knows the first user';
const dex = findProgram('dex', 'DEX_BIN');
if (dex === undefined)
  test(title, (context) =>
    context.skip('dex is neither on PATH nor in the folder DEX_BIN; it is no Debian package'),
  );
else
  testWith(['curl'], title, async () => {
    const folder = temporaryFolder('dex');
    const at = (name: string): string => join(folder, name);
    const [port = 0, health = 0] = await freePorts(2);
    const url = `https://127.0.0.1:${port}`;
    const eula = ['--eula-name', 'Ada Lovelace', '--eula-email', 'ada@site.example'];
    const init = [
      'site',
      'init',
      '--site',
      at('site.yaml'),
      '--omni',
      'omni.site',
      '--login',
      `127.0.0.1:${port}`,
    ];
    const made = await cli([...init, '--wireguard', '10.0.0.5', '--pki', ...eula]);
    expect(made.code, made.stderr).toBe(0);
    const site = parseSite(readFileSync(at('site.yaml')), 'site.yaml');
    const text = dexConfig({ ...bare, site })
      .replaceAll('/etc/dex/tls/server-', at('pki/services/login-'))
      .replace('0.0.0.0:5556', `127.0.0.1:${port}`)
      .replace('127.0.0.1:5558', `127.0.0.1:${health}`);
    writeFileSync(at('dex.yaml'), text);
    // As compose and systemd read it.
    const server = startProcess(
      ['sh', '-ac', '. "$0" && exec "$@"', at('pki/services/omni.env'), dex, 'serve', at('dex.yaml')],
      at('dex.log'),
    );
    try {
      const curl = (...args: readonly string[]): Promise<string> =>
        command('curl', [
          '-sS',
          '--cacert',
          at('pki/ca.pem'),
          '-o',
          '/dev/null',
          '-w',
          '%{http_code} %{url_effective}',
          ...args,
        ]);
      const ready = `http://127.0.0.1:${health}/healthz/ready`;
      await server.until(
        async () => ((await curl(ready).catch(() => '')).startsWith('200') ? true : undefined),
        30_000,
      );
      const [, password = ''] =
        /^admin@omni\.site +(\S+)$/m.exec(readFileSync(at('pki/log-ins.txt'), 'utf8')) ?? [];
      const query =
        'client_id=omni&redirect_uri=https%3A%2F%2Fomni.site%2Foidc%2Fconsume&response_type=code&scope=openid+profile+email&state=x';
      const logIn = async (word: string): Promise<string> => {
        const [, form = ''] = (await curl('--location', `${url}/auth?${query}`)).split(' ');
        return curl(
          '--data-urlencode',
          'login=admin@omni.site',
          '--data-urlencode',
          `password=${word}`,
          form,
        );
      };
      expect(await logIn(password)).toMatch(/^303 /);
      expect(await logIn(`${password}x`)).toMatch(/^401 /);
    } finally {
      await server.stop();
    }
  });
