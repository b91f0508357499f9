/**
 * Makes packages/talos/src/images/kubernetes-table.json: which etcd, coredns, flannel, pause and
 * kube-network-policies images each Talos release uses, read from the tags of a siderolabs/talos checkout.
 *
 *     node scripts/talos-image-table.ts PATH_OF_CHECKOUT > packages/talos/src/images/kubernetes-table.json
 *
 * A release that the expressions below do not fit stops the script: then the source has changed its form, and
 * somebody has to read it. docs/talos-images.md tells the story.
 */
import { execFileSync } from 'node:child_process';
import process from 'node:process';

/** The first release in the table: before, the set has other forms. */
const firstMinor = 9;

const checkout = process.argv[2];
if (checkout === undefined) {
  process.stderr.write('usage: node scripts/talos-image-table.ts PATH_OF_A_SIDEROLABS_TALOS_CHECKOUT\n');
  process.exit(2);
}

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', checkout ?? '', ...args], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
}

interface Tag {
  readonly name: string;
  readonly order: readonly (string | number)[];
}

/** Releases and what comes before them (alpha, beta, rc), oldest first. */
function releases(): readonly string[] {
  const tags: Tag[] = [];
  for (const name of git('tag', '--list', 'v1.*').trim().split('\n')) {
    const match = /^v1\.(\d+)\.(\d+)(?:-(alpha|beta|rc)\.(\d+))?$/.exec(name);
    if (match === null || Number(match[1]) < firstMinor) continue;
    const [, minor, patch, stage = 'release', number = '0'] = match;
    tags.push({ name, order: [Number(minor), Number(patch), stage, Number(number)] });
  }
  // "alpha", "beta", "rc" and "release" are in the order of the alphabet.
  tags.sort((a, b) => {
    for (const [i, left] of a.order.entries()) {
      const right = b.order[i] ?? 0;
      if (left !== right) return left < right ? -1 : 1;
    }
    return 0;
  });
  return tags.map(({ name }) => name);
}

function images(tag: string): Readonly<Record<string, string>> {
  const constants = git('show', `${tag}:pkg/machinery/constants/constants.go`);
  const list = git('show', `${tag}:pkg/images/list.go`);
  const optional = (source: string, pattern: RegExp): string | undefined => pattern.exec(source)?.[1];
  const needed = (source: string, pattern: RegExp): string => {
    const found = optional(source, pattern);
    if (found === undefined) throw new Error(`${tag}: nothing fits ${pattern}`);
    return found;
  };
  const constant = (name: string): string =>
    needed(constants, new RegExp(`^\\s*${name}\\s*=\\s*"([^"]+)"$`, 'm'));
  const flannel = needed(list, /"([^"]+flannel):%s", constants\.FlannelVersion/);
  const policies = optional(list, /"([^"]+):%s", constants\.KubeNetworkPoliciesVersion/);
  return {
    etcd: `${constant('EtcdImage')}:${constant('DefaultEtcdVersion')}`,
    coredns: `${constant('CoreDNSImage')}:${constant('DefaultCoreDNSVersion')}`,
    flannel: `${flannel}:${constant('FlannelVersion')}`,
    pause: needed(list, /DefaultSandboxImage = "([^"]+)"/),
    ...(policies === undefined
      ? {}
      : { kubeNetworkPolicies: `${policies}:${constant('KubeNetworkPoliciesVersion')}` }),
  };
}

const table = Object.fromEntries(releases().map((tag) => [tag, images(tag)]));
process.stdout.write(`${JSON.stringify(table, null, 2)}\n`);
