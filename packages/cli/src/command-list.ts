/**
 * The commands by name, and which of them one run needs. A command is loaded when it is called: its libraries take
 * longer to load than the help of the program takes to print, so that help comes from this list alone.
 */
import { CodedError, printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import type { Session } from './session.ts';

interface Listed {
  /** For the list of commands, and the first line of the command's own help. */
  readonly description: string;
  readonly load: () => Promise<(session: Session) => Command>;
}

/** In the order of the help. */
const listed: ReadonlyMap<string, Listed> = new Map([
  [
    'init',
    {
      description: 'write a commented mirror.yaml to start from',
      load: async () => (await import('./commands/init.ts')).addInit,
    },
  ],
  [
    'plan',
    {
      description:
        'show what a fetch would bring, and what it takes; changes nothing unless --write is given',
      load: async () => (await import('./commands/plan.ts')).addPlan,
    },
  ],
  [
    'fetch',
    {
      description: 'fetch what mirror.yaml asks for into the store; run it again to resume',
      load: async () => (await import('./commands/fetch.ts')).addFetch,
    },
  ],
  [
    'outdated',
    {
      description:
        'list newer versions upstream, within the ranges of mirror.yaml and beyond; changes nothing',
      load: async () => (await import('./commands/outdated.ts')).addOutdated,
    },
  ],
  [
    'egress',
    {
      description: 'what the connected host must reach, whether it can, and what it did reach',
      load: async () => (await import('./commands/egress.ts')).addEgress,
    },
  ],
  [
    'gc',
    {
      description: 'remove from a store what lock.json no longer names, and what no push needs',
      load: async () => (await import('./commands/gc.ts')).addGc,
    },
  ],
  [
    'bundle',
    {
      description: 'pack what the store is locked to into volumes on a medium',
      load: async () => (await import('./commands/bundle.ts')).addBundle,
    },
  ],
  [
    'mirror',
    {
      description: 'fetch and bundle in one go, with one copy of the content on disk',
      load: async () => (await import('./commands/mirror.ts')).addMirror,
    },
  ],
  [
    'sign',
    {
      description: 'sign a bundle that was made unsigned, or with another key',
      load: async () => (await import('./commands/sign.ts')).addSign,
    },
  ],
  [
    'verify',
    {
      description: 'read a bundle or a store completely and report damage',
      load: async () => (await import('./commands/verify.ts')).addVerify,
    },
  ],
  [
    'inspect',
    {
      description: 'show what a bundle or a store holds; the first medium of a bundle is enough',
      load: async () => (await import('./commands/inspect.ts')).addInspect,
    },
  ],
  [
    'diff',
    {
      description: 'show what changed between two bundles, stores or receipts',
      load: async () => (await import('./commands/diff.ts')).addDiff,
    },
  ],
  [
    'site',
    {
      description: 'what only this site knows: its names, certificates and log-ins',
      load: async () => (await import('./commands/site.ts')).addSite,
    },
  ],
  [
    'load',
    {
      description: 'bring a bundle into the registry and the object store of this site',
      load: async () => (await import('./commands/load.ts')).addLoad,
    },
  ],
  [
    'prune',
    {
      description:
        'remove from this site what older bundles brought and nothing needs any more, in two steps',
      load: async () => (await import('./commands/prune.ts')).addPrune,
    },
  ],
  [
    'serve',
    {
      description:
        'offer what a bundle or store holds as an Image Factory and an OCI registry, straight from the medium',
      load: async () => (await import('./commands/serve.ts')).addServe,
    },
  ],
  [
    'wants',
    {
      description: 'list content that clients requested and serve did not have, as a part of mirror.yaml',
      load: async () => (await import('./commands/wants.ts')).addWants,
    },
  ],
  [
    'keygen',
    {
      description: 'make a P-256 key pair to sign bundles with',
      load: async () => (await import('./commands/keygen.ts')).addKeygen,
    },
  ],
]);

/**
 * @param args of the whole command line
 * @returns every command, in the order of the help: the one that the command line names as it is, the others without
 * their options
 * @throws USAGE when the first word names none: commander would show the help of the program and end well for
 * `nothing --help`
 */
export async function commandsFor(args: readonly string[], session: Session): Promise<readonly Command[]> {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const called = words[0] === 'help' ? words[1] : words[0];
  if (called !== undefined && called === args[0] && !listed.has(called)) {
    const { nearestName } = await import('@omni-airgap/talos');
    const meant = nearestName(called, [...listed.keys()], 2);
    const hint = meant === undefined ? 'omni-airgap --help lists them' : `did you mean ${meant}?`;
    throw new CodedError('USAGE', `${printable(called)}: no such command; ${hint}`);
  }
  return Promise.all(
    [...listed].map(async ([name, { description, load }]) => {
      const command = name === called ? (await load())(session) : new Command(name);
      return command.description(description);
    }),
  );
}
