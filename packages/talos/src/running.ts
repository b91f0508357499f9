/**
 * What runs at a site, from the output of the tools that operators have: `kubectl get pods,nodes -A -o json`,
 * `talosctl image list`, `omnictl get clusters -o json` (or yaml) and the like for the status of machines and upgrades.
 * Read leniently, since each version of a tool adds members; but output that says nothing of what runs is refused: a file
 * that was cut off, or is of the wrong command, must not count as a site where nothing runs.
 * Sources: k8s.io/api v0.34 core/v1 types.go; siderolabs/talos v1.13 cmd/talosctl/cmd/talos/image.go; siderolabs/omni v1.10
 * client/pkg/omnictl/output, client/api/omni/specs/omni.proto; go-yaml writes members in lower case.
 */
import { messageOf, quoted, TalosError } from './errors.ts';
import { isVersion, vPrefixed } from './version.ts';
import { parseYamlFile } from './yaml/strict.ts';

/** What runs: versions with a leading `v`, sorted; images as the tools print them, with tag or digest, or a digest alone. */
export interface Running {
  readonly talos: readonly string[];
  readonly kubernetes: readonly string[];
  readonly images: readonly string[];
}

/**
 * @param text the output of one command
 * @param path the file, for messages
 * @throws BAD_RUNNING for output of any other command, and for one that says nothing of what runs
 */
export function parseRunning(text: string, path: string): Running {
  const found = new Found(path);
  if (/^\s*[[{]/.test(text)) for (const document of jsonDocuments(text, path)) found.take(document);
  else if (/^\s*NODE\s+IMAGE\s+DIGEST\b/.test(text)) found.takeTable(text);
  else for (const document of yamlDocuments(text, path)) found.take(document);
  return found.result();
}

type Members = Readonly<Record<string, unknown>>;

/** omnictl prints one document after the other. */
function jsonDocuments(text: string, path: string): readonly unknown[] {
  const parse = (part: string): unknown => {
    try {
      return JSON.parse(part);
    } catch (cause) {
      const why = `is not the whole output of a command: ${messageOf(cause)}`;
      throw new TalosError('BAD_RUNNING', `${path}: ${why}; run the command again`, { cause });
    }
  };
  return text
    .trim()
    .split(/(?<=^[\]}])\r?\n(?=[[{])/m)
    .map(parse);
}

function yamlDocuments(text: string, path: string): readonly unknown[] {
  const parts = text.split(/^---[ \t]*\r?$/m).filter((part) => part.trim() !== '');
  return parts.map((part) => {
    try {
      return parseYamlFile(part, path).value;
    } catch (cause) {
      throw new TalosError('BAD_RUNNING', `${messageOf(cause)}; ${expected}`, { cause });
    }
  });
}

const expected =
  'it must be the output of kubectl get pods,nodes -A -o json, of talosctl image list, or of omnictl get clusters (or machinestatuses, kubernetesstatuses, talosupgradestatuses) -o json';

/** Members of a resource of Omni that say what runs, or what is being installed; not what could be. */
const omniVersions: Readonly<Record<string, { readonly talos?: string[]; readonly kubernetes?: string[] }>> =
  {
    Clusters: { talos: ['talosversion'], kubernetes: ['kubernetesversion'] },
    ClusterStatuses: { talos: ['talosversion'], kubernetes: ['kubernetesversion'] },
    MachineStatuses: { talos: ['talosversion'] },
    ClusterMachineTalosVersions: { talos: ['talosversion'] },
    ClusterMachineConfigStatuses: { talos: ['talosversion'] },
    TalosUpgradeStatuses: { talos: ['lastupgradeversion', 'currentupgradeversion'] },
    KubernetesUpgradeStatuses: { kubernetes: ['lastupgradeversion', 'currentupgradeversion'] },
    KubernetesStatuses: {},
  };

class Found {
  readonly #path: string;
  readonly #talos = new Set<string>();
  readonly #kubernetes = new Set<string>();
  readonly #images = new Set<string>();
  #pods = 0;
  #nodes = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** A resource, or a list of them. @throws BAD_RUNNING */
  take(document: unknown): void {
    if (Array.isArray(document)) {
      for (const one of document) this.take(one);
      return;
    }
    if (!isMembers(document)) throw this.#refusal(expected);
    const { items } = document;
    if (Array.isArray(items)) {
      const kind = text(document['kind'])?.replace(/List$/, '');
      for (const item of items) this.take(isMembers(item) && kind !== '' ? { kind, ...item } : item);
      return;
    }
    const kind = text(document['kind']);
    if (kind === 'Pod') this.#takePod(document);
    else if (kind === 'Node') this.#takeNode(document);
    else this.#takeOmni(document);
  }

  takeTable(table: string): void {
    const [, ...lines] = table.split(/\r?\n/).filter((line) => line.trim() !== '');
    for (const line of lines) {
      // Columns are divided by three spaces at least; sizes have one in them.
      const [, image, digest] = line.split(/\s{2,}|\t/);
      if (image === undefined || digest === undefined)
        throw this.#refusal('a line has no image; run talosctl image list again');
      this.#image(image);
      this.#image(digest);
    }
  }

  /** @throws BAD_RUNNING when there is nothing */
  result(): Running {
    if (this.#pods > 0 && this.#nodes === 0) {
      throw this.#refusal(
        'has pods and no nodes, which tell the versions: kubectl get pods,nodes -A -o json',
      );
    }
    const sorted = (set: ReadonlySet<string>): readonly string[] => [...set].sort();
    const [talos, kubernetes, images] = [this.#talos, this.#kubernetes, this.#images].map(sorted);
    if (this.#talos.size + this.#kubernetes.size + this.#images.size === 0) {
      throw this.#refusal(`names nothing that runs; ${expected}`);
    }
    return { talos: talos ?? [], kubernetes: kubernetes ?? [], images: images ?? [] };
  }

  #takePod({ spec, status }: Members): void {
    this.#pods++;
    for (const key of ['initContainers', 'containers', 'ephemeralContainers']) {
      for (const container of list(members(spec)[key])) this.#image(container['image']);
    }
    for (const key of ['initContainerStatuses', 'containerStatuses', 'ephemeralContainerStatuses']) {
      for (const container of list(members(status)[key])) {
        this.#image(container['image']);
        this.#image(container['imageID']);
      }
    }
    for (const volume of list(members(spec)['volumes'])) this.#image(members(volume['image'])['reference']);
  }

  #takeNode({ status }: Members): void {
    this.#nodes++;
    const info = members(members(status)['nodeInfo']);
    this.#version(this.#kubernetes, info['kubeletVersion']);
    this.#version(this.#kubernetes, info['kubeProxyVersion']);
    this.#version(this.#talos, /^Talos .*\((v[^)]+)\)$/.exec(text(info['osImage']) ?? '')?.[1]);
  }

  #takeOmni({ metadata, spec }: Members): void {
    const type = text(members(metadata)['type']) ?? '';
    const known = omniVersions[type.replace(/\.omni\.sidero\.dev$/, '')];
    if (!type.endsWith('.omni.sidero.dev') || known === undefined) {
      throw this.#refusal(type === '' ? expected : `${quoted(type)} does not say what runs; ${expected}`);
    }
    for (const key of known.talos ?? []) this.#version(this.#talos, members(spec)[key]);
    for (const key of known.kubernetes ?? []) this.#version(this.#kubernetes, members(spec)[key]);
    for (const node of list(members(spec)['nodes'])) this.#version(this.#kubernetes, node['kubeletversion']);
    for (const node of list(members(spec)['staticpods'])) {
      for (const pod of list(node['staticpods'])) this.#version(this.#kubernetes, pod['version']);
    }
  }

  #version(versions: Set<string>, value: unknown): void {
    const version = text(value) ?? '';
    if (version === '') return;
    if (!isVersion(version)) throw this.#refusal(`${quoted(version)} is not a version`);
    versions.add(vPrefixed(version));
  }

  /** Containerd's names of images; the older prefixes are those of Docker. */
  #image(value: unknown): void {
    const image = (text(value) ?? '').trim().replace(/^docker(?:-pullable)?:\/\//, '');
    if (image === '') return;
    if (!/^[\x21-\x7e]{1,600}$/.test(image)) throw this.#refusal(`${quoted(image)} is not an image`);
    this.#images.add(image);
    const [, kubernetes] =
      /\/(?:kubelet|kube-(?:apiserver|controller-manager|scheduler|proxy)):(v[0-9][^@]*)/.exec(image) ?? [];
    if (kubernetes !== undefined && isVersion(kubernetes)) this.#kubernetes.add(vPrefixed(kubernetes));
    const [, talos] =
      /\/(?:[a-z0-9-]*installer(?:-secureboot)?\/[a-f0-9]{64}|installer(?:-base)?|imager):(v[0-9][^@]*)/.exec(
        image,
      ) ?? [];
    if (talos !== undefined && isVersion(talos)) this.#talos.add(vPrefixed(talos));
  }

  #refusal(problem: string): TalosError {
    return new TalosError('BAD_RUNNING', `${this.#path}: ${problem}`);
  }
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function members(value: unknown): Members {
  return isMembers(value) ? value : {};
}

function list(value: unknown): readonly Members[] {
  return Array.isArray(value) ? value.filter(isMembers) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
