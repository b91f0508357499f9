/** omni-airgap serve */
import { once } from 'node:events';
import { BundleStore, CodedError, Layout, printable } from '@omni-airgap/content';
import { createServer } from '@omni-airgap/server';
import { Command } from 'commander';
import { collected, withCommon, withExample } from '../flags.ts';
import { count } from '../format.ts';
import type { CommonFlags, Session } from '../session.ts';
import { readTrust } from './keys.ts';

interface Flags extends CommonFlags {
  readonly bundle: readonly string[];
  readonly store?: string;
  readonly writable?: string;
  readonly listen: string;
  readonly verifyKey?: string;
  readonly allowUnsigned?: true;
}

export function addServe(session: Session): Command {
  const command = new Command('serve')
    .description('offer what a bundle or store holds as an OCI registry, straight from the medium')
    .option('--bundle <dir>', 'folder of a bundle (repeatable when it is spread over media)', collected, [])
    .option('--store <dir>', 'a store instead of a bundle')
    .option('--writable <dir>', 'take pushes into this folder: a registry for a site that has none yet')
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:5000')
    .option('--verify-key <file>', 'the public key the bundle must be signed with')
    .option('--allow-unsigned', 'serve a bundle from anybody')
    .action((flags: Flags) => serve(session, flags));
  return withExample(
    withCommon(command),
    'omni-airgap serve --bundle /mnt/usb --verify-key site.pub --listen 0.0.0.0:5000',
  );
}

async function serve(session: Session, flags: Flags): Promise<void> {
  const { output, signal } = session;
  if (flags.store !== undefined && flags.bundle.length > 0) {
    throw new CodedError('USAGE', 'serve takes either --bundle DIR or --store DIR');
  }
  const { host, port } = parseListen(flags.listen);
  const source =
    flags.bundle.length > 0
      ? await BundleStore.open(flags.bundle, await readTrust(flags.verifyKey, flags.allowUnsigned === true))
      : flags.store === undefined
        ? undefined
        : await Layout.open(flags.store);
  const writable =
    flags.writable === undefined ? undefined : await Layout.open(flags.writable, { create: true });
  const server = await createServer({
    ...(source === undefined ? {} : { source }),
    ...(writable === undefined ? {} : { writable }),
    // A site may have been brought one platform only.
    allowSparse: true,
    onAccess: ({ method, path, status, bytes }) => {
      if (flags.quiet !== true) output.stderr(`serve: ${method} ${path} ${status} ${bytes}\n`);
    },
  });
  try {
    await server.listen(host, port);
    const unreachable = server.unreachable();
    if (flags.json === true) output.stdout(`${JSON.stringify({ url: server.url, unreachable })}\n`);
    else {
      output.stdout(
        `Serving at ${server.url}${writable === undefined ? ', read-only' : ', taking pushes'}. Ctrl-C ends it.\n`,
      );
      if (unreachable.length > 0)
        output.stderr(`serve: ${count(unreachable.length, 'name')} reachable with their host only\n`);
    }
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    await server.close();
  }
}

/** @throws USAGE */
function parseListen(text: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65535) {
    throw new CodedError('USAGE', `--listen ${printable(text)}: write HOST:PORT, such as 0.0.0.0:5000`);
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}
