/** omni-airgap wants */
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { readSmallFile } from '@omni-airgap/oci/fs';
import { errorFromResponse } from '@omni-airgap/oci/http';
import { openNetwork } from '@omni-airgap/oci/registry';
import { maxWantsBytes, parseWants, type WantsDocument, wantsFile, wantsFragment } from '@omni-airgap/server';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { type CommonFlags, networkSettings, type Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly from: string;
  readonly caCert?: string;
  readonly registryConfig?: string;
}

export function addWants(session: Session): Command {
  const command = new Command('wants')
    .description('list content that clients requested and serve did not have, as a part of mirror.yaml')
    .requiredOption('--from <url|dir>', 'address of the server, or the folder of its --writable')
    .option('--ca-cert <file>', 'trust the certificates in this PEM file as well')
    .option(
      '--registry-config <file>',
      'where a server with --require-login finds your password: an auth.json of docker or podman',
    )
    .action((flags: Flags) => wants(session, flags));
  return withExample(
    withCommon(command),
    'omni-airgap wants --from http://factory.site.example:5000 > wants.yaml',
  );
}

/** With --quiet only the fragment itself is left out: the exit code tells whether the list could be read. */
async function wants(session: Session, flags: Flags): Promise<void> {
  const isServer = /^https?:\/\//i.test(flags.from);
  const document = isServer ? await fromServer(session, flags) : await fromFolder(flags.from);
  const fragment = wantsFragment(document, isServer ? baseOf(flags.from) : undefined);
  if (flags.json === true) {
    const { wishes, dropped } = document;
    session.output.stdout(`${JSON.stringify({ wishes, dropped, fragment }, undefined, 2)}\n`);
  } else if (flags.quiet !== true) session.output.stdout(fragment);
}

/** @throws NO_INPUT, BAD_DOCUMENT */
async function fromFolder(folder: string): Promise<WantsDocument> {
  const path = join(folder, wantsFile);
  const bytes = await readSmallFile(path, maxWantsBytes);
  if (bytes === undefined) {
    throw new CodedError(
      'NO_INPUT',
      `${path}: not found; serve keeps wishes in the folder of its --writable`,
    );
  }
  return parseWants(bytes, path);
}

async function fromServer(session: Session, { from, caCert, registryConfig }: Flags): Promise<WantsDocument> {
  const url = new URL(baseOf(from));
  const settings = networkSettings(
    {
      upstream: [],
      allowHost: [],
      plainHttp: url.protocol === 'http:' ? [url.host] : [],
      caCert,
      ...(registryConfig === undefined ? {} : { registryConfig }),
    },
    session.env,
    false,
  );
  const network = await openNetwork(settings, { hosts: [url.host], allowPrivate: true });
  try {
    const target = `${baseOf(from)}/${wantsFile}`;
    const ask = (authorization?: string) =>
      network.gate.request({ method: 'GET', url: target, signal: session.signal, authorization });
    let response = await ask();
    if (response.status === 401) {
      const refused = await errorFromResponse(response, 'the list of wishes');
      const password = await network.password(url.host);
      if (password === undefined) throw withoutPassword(refused, url.host);
      response = await ask(password);
    }
    if (response.status !== 200) throw await errorFromResponse(response, 'the list of wishes');
    return parseWants(Buffer.from(await response.text(maxWantsBytes)), target);
  } finally {
    await network.close();
  }
}

/** The URL without a slash at its end. @throws USAGE */
function baseOf(from: string): string {
  const url = URL.parse(from);
  if (url === null) throw new CodedError('USAGE', '--from is no URL; write http://HOST:PORT');
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

function withoutPassword(refused: CodedError, host: string): CodedError {
  return new CodedError(
    refused.code,
    `${refused.message}; no password for ${host}: log in (docker login ${host}, or --registry-config FILE)`,
    { cause: refused, status: refused.status },
  );
}
