/** omni-airgap wants */
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { readSmallFile } from '@omni-airgap/oci/fs';
import { errorFromResponse } from '@omni-airgap/oci/http';
import { openNetwork } from '@omni-airgap/oci/registry';
import {
  maxWantsBytes,
  parseWants,
  publicText,
  schematicsWithoutText,
  type WantsDocument,
  wantsFile,
  wantsFragment,
} from '@omni-airgap/server';
import { maxSchematicBytes } from '@omni-airgap/talos';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { networkSettings } from '../network.ts';
import type { CommonFlags, Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly from: string;
  readonly caCert?: string;
  readonly registryConfig?: string;
}

export function addWants(session: Session): Command {
  const command = new Command('wants')
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
  const { document, texts } = isServer
    ? await fromServer(session, flags)
    : { document: await fromFolder(flags.from), texts: new Map<string, string>() };
  const fragment = wantsFragment(document, { server: isServer ? baseOf(flags.from) : undefined, texts });
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

/** A list, and texts of schematics that it names by their IDs alone. */
interface Wanted {
  readonly document: WantsDocument;
  readonly texts: ReadonlyMap<string, string>;
}

async function fromServer(session: Session, { from, caCert, registryConfig }: Flags): Promise<Wanted> {
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
  let authorization: string | undefined;
  const ask = (path: string) =>
    network.gate.request({
      method: 'GET',
      url: `${baseOf(from)}/${path}`,
      signal: session.signal,
      authorization,
    });
  try {
    let response = await ask(wantsFile);
    if (response.status === 401) {
      const refused = await errorFromResponse(response, 'the list of wishes');
      authorization = await network.password(url.host);
      if (authorization === undefined) throw withoutPassword(refused, url.host);
      response = await ask(wantsFile);
    }
    if (response.status !== 200) throw await errorFromResponse(response, 'the list of wishes');
    const bytes = Buffer.from(await response.text(maxWantsBytes));
    const document = parseWants(bytes, `${baseOf(from)}/${wantsFile}`);
    const texts = new Map<string, string>();
    for (const id of schematicsWithoutText(document)) {
      const answer = await ask(`schematics/${id}`);
      // Without it the ID has to do.
      const body = await answer.text(maxSchematicBytes);
      const text = answer.status === 200 ? publicText(id, body) : undefined;
      if (text !== undefined) texts.set(id, text);
    }
    return { document, texts };
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
