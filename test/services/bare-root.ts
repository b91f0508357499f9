/**
 * Bare Debian systems: what debootstrap's minbase installs, and nothing else. In one kind git and npm follow, by the
 * command that README.md names. Each is made once and kept as an archive in the user's cache folder; every test gets a
 * copy of its own. A system uses the network of this machine, so servers on loopback are reachable from inside.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { command } from './command.ts';
import { requireCommands } from './require.ts';

export const bareRootCommands: readonly string[] = ['debootstrap', 'unshare', 'tar'];

/** The Debian releases that systems are made of, oldest first. */
export const suites = ['bookworm', 'trixie'] as const;
export type Suite = (typeof suites)[number];
/** `npm`: with git and npm. */
export type Kind = 'minbase' | 'npm';

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BareRoot {
  /** Where its `/` is on this machine. */
  readonly folder: string;
  /**
   * Runs a command inside, as root, in processes and mounts of its own.
   * @param cwd inside; default `/root` @param minutes after which it is killed; default 5
   */
  run(
    command: readonly string[],
    options?: { readonly cwd?: string; readonly minutes?: number },
  ): Promise<Ended>;
  remove(): void;
}

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'omni-airgap', 'bare-roots');
/** As README.md has it. */
export const installNpm = 'apt-get install --no-install-recommends git npm';
/** Part of the archive's name: a change of what is in it makes a new one. */
const recipe = createHash('sha256').update(`1 ${installNpm}`).digest('hex').slice(0, 12);

/** Name files with certificate authorities, for Node.js and for OpenSSL. */
const authorityVariables = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'];

/**
 * Whether this machine's Debian mirror has a release.
 * @returns false also when debootstrap does not know it
 */
export async function hasSuite(suite: Suite): Promise<boolean> {
  if (existsSync(archiveOf(suite, 'minbase'))) return true;
  if (!existsSync(`/usr/share/debootstrap/scripts/${suite}`)) return false;
  const folder = workFolder();
  try {
    // apt's own client: it knows this machine's proxies and certificates.
    const url = `${await mirror()}dists/${suite}/Release`;
    return spawnSync('/usr/lib/apt/apt-helper', ['download-file', url, join(folder, 'Release')]).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @throws MissingService; Error with what debootstrap or apt-get said last */
export async function openBareRoot(suite: Suite, kind: Kind): Promise<BareRoot> {
  requireCommands(...bareRootCommands);
  const archive = await archived(suite, kind);
  return bareRoot(await unpacked(archive));
}

function archiveOf(suite: Suite, kind: Kind): string {
  return join(cache, `${suite}-${kind}-${process.arch}-${recipe}.tar`);
}

/** Two runs at once may both make an archive; either is whole, and the later one stays. */
async function archived(suite: Suite, kind: Kind): Promise<string> {
  const archive = archiveOf(suite, kind);
  if (existsSync(archive)) return archive;
  const folder = kind === 'minbase' ? await debootstrapped(suite) : await withNpm(suite);
  try {
    const part = `${folder}.tar`;
    await execute('tar', ['--create', '--file', part, '--numeric-owner', '--directory', folder, '.']);
    renameSync(part, archive);
    return archive;
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(`${folder}.tar`, { force: true });
  }
}

async function debootstrapped(suite: Suite): Promise<string> {
  const folder = workFolder();
  const proxy = await aptSetting('Acquire::http::Proxy');
  const env = proxy === '' ? process.env : { ...process.env, http_proxy: proxy };
  // Its mounts end with it, however it ends.
  const call = ['--mount', 'debootstrap', '--variant=minbase', suite, folder, await mirror()];
  try {
    await execute('unshare', call, { env });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return folder;
}

async function withNpm(suite: Suite): Promise<string> {
  const folder = await unpacked(await archived(suite, 'minbase'));
  const proxy = await aptSetting('Acquire::http::Proxy');
  if (proxy !== '')
    writeFileSync(join(folder, 'etc/apt/apt.conf.d/proxy'), `Acquire::http::Proxy "${proxy}";\n`);
  const inside = bareRoot(folder);
  for (const line of ['apt-get update', `${installNpm} --yes`, 'apt-get clean']) {
    const { status, stdout, stderr } = await inside.run(line.split(' '), { minutes: 15 });
    if (status === 0) continue;
    inside.remove();
    throw new Error(
      `${line} in a bare ${suite}: ${`${stdout}${stderr}`.trim().split('\n').slice(-5).join(' | ')}`,
    );
  }
  return folder;
}

async function unpacked(archive: string): Promise<string> {
  const folder = workFolder();
  await execute('tar', [
    '--extract',
    '--file',
    archive,
    '--numeric-owner',
    '--same-owner',
    '--directory',
    folder,
  ]);
  // Names resolve as on this machine, also when the archive is from another day.
  for (const file of ['/etc/resolv.conf', '/etc/hosts'])
    if (existsSync(file)) copyFileSync(file, join(folder, file));
  return folder;
}

function bareRoot(folder: string): BareRoot {
  return {
    folder,
    async run([name = '', ...args], { cwd = '/root', minutes = 5 } = {}) {
      const inside = ['--root', folder, '--wd', cwd, name, ...args];
      const call = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', ...inside];
      const options = { env: environment(folder), timeout: minutes * 60_000, maxBuffer: 64 * 1024 * 1024 };
      return new Promise((resolve) => {
        execFile('unshare', call, options, (error, stdout, stderr) => {
          const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ status, stdout, stderr });
        });
      });
    },
    remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** A log-in as Debian has it, with this machine's proxies, and its certificate authorities where they were copied. */
function environment(folder: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name, value = '']) =>
      /^(?:https?|no)_proxy$/i.test(name) ||
      (authorityVariables.includes(name) && existsSync(join(folder, value))),
  );
  return {
    ...Object.fromEntries(kept),
    HOME: '/root',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    DEBIAN_FRONTEND: 'noninteractive',
    LC_ALL: 'C',
  };
}

/** Gives a system this machine's npm settings (registry, proxy, log-in) and the certificate authorities they rely on. */
export async function copyNpmSettings({ folder }: BareRoot): Promise<void> {
  const setting = async (name: string): Promise<string> => {
    const value = (await command('npm', ['config', 'get', name], folder)).trim();
    return value === 'null' || value === 'undefined' ? '' : value;
  };
  const files = [await setting('globalconfig'), await setting('userconfig')].filter((file) =>
    existsSync(file),
  );
  writeFileSync(join(folder, 'root/.npmrc'), files.map((file) => `${readFileSync(file, 'utf8')}\n`).join(''));
  const authorities = [
    await setting('cafile'),
    process.env['NODE_EXTRA_CA_CERTS'],
    process.env['SSL_CERT_FILE'],
  ];
  for (const file of authorities) {
    if (file === undefined || file === '' || !existsSync(file)) continue;
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    copyFileSync(file, join(folder, file));
  }
}

let found: Promise<string> | undefined;

/** The mirror of Debian that apt is set up with, with a slash at its end. */
async function mirror(): Promise<string> {
  found ??= (async () => {
    const format = ['indextargets', '--format', '$(LABEL) $(COMPONENT) $(REPO_URI)', 'Created-By: Packages'];
    const lines = (await command('apt-get', format)).split('\n').map((line) => line.split(' '));
    const uri = lines.find(([label, component]) => label === 'Debian' && component === 'main')?.[2];
    if (uri === undefined)
      throw new Error("apt is set up without Debian's main archive (or apt-get update never ran)");
    return uri;
  })();
  return found;
}

async function aptSetting(name: string): Promise<string> {
  const shell = await command('apt-config', ['shell', 'VALUE', name]);
  return /^VALUE='(.*)'$/m.exec(shell)?.[1] ?? '';
}

/** A new empty folder in the cache, so that it may hold devices and programs; those of runs that were killed go. */
function workFolder(): string {
  mkdirSync(cache, { recursive: true });
  for (const name of readdirSync(cache)) {
    const pid = /^work-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && isAbandoned(Number(pid), join(cache, name)))
      rmSync(join(cache, name), { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(cache, `work-${process.pid}-`));
  execFileSync('chmod', ['755', folder]);
  return folder;
}

function isAbandoned(pid: number, path: string): boolean {
  if (existsSync(`/proc/${pid}`)) return false;
  const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return changed !== undefined && Date.now() - changed > 60 * 60_000;
}

/** For what takes minutes. @throws Error with the last lines of its output */
async function execute(
  name: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv } = {},
): Promise<void> {
  try {
    await promisify(execFile)(name, args, { ...options, timeout: 15 * 60_000, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(
      `${name} ${args.join(' ')}: ${`${stdout}${stderr}`.trim().split('\n').slice(-5).join(' | ')}`,
    );
  }
}
