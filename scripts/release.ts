/**
 * The release, for where nothing can be installed: `scripts/release [DIR]`, by default into dist/.
 *
 *   omni-airgap-linux-amd64, omni-airgap-linux-arm64   executables with Node.js in them
 *   omni-airgap.mjs                                    the same program as one readable file, for any Node.js 22.19 or newer
 *   RELEASE.txt                                        version, and the libraries that each executable needs
 *   LICENSES.txt                                       of everything in them
 *   SHA256SUMS                                         of these files; the same clone makes the same bytes
 *
 * Nothing is written to DIR before the executables have passed the checks of `check`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type BuildOptions, build } from 'esbuild';
import manifest from '../packages/cli/package.json' with { type: 'json' };
import { compareVersions, type ElfNeeds, elfNeeds } from './lib/elf.ts';
import { NoRoot, runInEmptyRoot } from './lib/empty-root.ts';
import { nodeFlags } from './lib/node-flags.ts';
import { writeProgramParts } from './lib/program-parts.ts';
import { allowed, nodePackage, type Platform, platforms } from './lib/release-platforms.ts';

const { version } = manifest;
const root = join(import.meta.dirname, '..');
const out = resolve(process.argv[2] ?? join(root, 'dist'));
const [module, licenses, notes, sums] = ['omni-airgap.mjs', 'LICENSES.txt', 'RELEASE.txt', 'SHA256SUMS'];
const executable = ({ name }: Platform): string => `omni-airgap-${name}`;
const nodeOf = (platform: Platform): string => join(nodePackage(platform), 'bin', 'node');
const here = platforms.find(({ arch }) => arch === process.arch);
/** Marks the place in Node.js' executables that says whether a program was put in. */
const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** What both forms of the program have in common. */
async function programOptions(): Promise<BuildOptions> {
  return {
    define: { omniAirgapBcryptThread: JSON.stringify(await threadProgram()) },
    absWorkingDir: root,
    entryPoints: ['packages/cli/src/main.ts'],
    bundle: true,
    // The CycloneDX library takes it for XML when it is installed; only its JSON is used.
    external: ['xmlbuilder2'],
    platform: 'node',
    target: 'node22',
    legalComments: 'none',
    logLevel: 'warning',
  };
}

/** The program of the thread that checks passwords, which no file beside the one of a release can hold. */
async function threadProgram(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['packages/server/src/access/bcrypt-thread.ts'],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    target: 'node22',
    legalComments: 'none',
    logLevel: 'warning',
  });
  return outputFiles[0]?.text ?? '';
}

/** @returns the files that went in, relative to the clone */
async function bundleModule(folder: string): Promise<readonly string[]> {
  const { metafile } = await build({
    ...(await programOptions()),
    outfile: join(folder, module),
    metafile: true,
    format: 'esm',
    // Libraries in the older module format ask for parts of Node.js by require; some have a createRequire of their own.
    banner: {
      js: "#!/usr/bin/env node\nimport { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
    },
  });
  return Object.keys(metafile.inputs);
}

/**
 * The single executables of Node.js 24: a blob with the program, made once, put into a copy of each platform's Node.js.
 * The program is CommonJS, since that version embeds nothing else.
 * https://nodejs.org/docs/latest-v24.x/api/single-executable-applications.html
 * @param folder gets the executables @param scratch is for what is needed on the way
 */
async function bundleExecutables(host: Platform, folder: string, scratch: string): Promise<void> {
  const { define, ...options } = await programOptions();
  const { main, assets } = await writeProgramParts(
    // OpenPGP.js asks for parts of Node.js from the place of its module, which CommonJS does not know.
    { ...options, define: { ...define, 'import.meta.url': 'moduleUrl' } },
    scratch,
  );
  const settings = {
    main,
    assets,
    output: 'program.blob',
    disableExperimentalSEAWarning: true,
    // A code cache would start it faster, but differs from build to build and fits one processor only.
    useCodeCache: false,
    execArgv: nodeFlags,
  };
  writeFileSync(join(scratch, 'sea.json'), JSON.stringify(settings));
  // From the folder itself: the path of `main` becomes part of the executable.
  run(nodeOf(host), ['--experimental-sea-config', 'sea.json'], scratch);
  const inject = import.meta.resolve('postject/dist/cli.js').slice('file://'.length);
  for (const platform of platforms) {
    const file = join(folder, executable(platform));
    copyFileSync(nodeOf(platform), file);
    chmodSync(file, 0o755);
    const blob = join(scratch, settings.output);
    run(process.execPath, [inject, file, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse], scratch);
  }
}

/**
 * What an executable needs, once it is sure that it needs no more than README.md says, and that it starts: in a root
 * with nothing but these libraries, or under an emulator when it is for another processor.
 * @throws Error when it does not
 */
function check(platform: Platform, folder: string): ElfNeeds {
  const name = executable(platform);
  const file = join(folder, name);
  const needs = elfNeeds(file);
  if (needs.machine !== platform.arch)
    throw new Error(`${name} is for ${needs.machine}, not ${platform.arch}`);
  const further = needs.libraries.filter((library) => !mayHave(library));
  if (further.length > 0)
    throw new Error(`${name} needs ${further.join(', ')}, which README.md does not name`);
  const glibc = needs.versions.find((one) => one.startsWith('GLIBC_')) ?? '';
  if (compareVersions(glibc, allowed.glibc) > 0)
    throw new Error(`${name} needs ${glibc}, not ${allowed.glibc}`);
  const [printed, how] = start(platform, file, needs);
  if (printed !== undefined && printed.trim() !== version)
    throw new Error(`${name} --version prints ${JSON.stringify(printed.trim())}, not ${version}`);
  console.log(`${name}: ${how}`);
  return needs;
}

function mayHave(library: string): boolean {
  return allowed.libraries.includes(library) || allowed.glibcLibraries.test(library);
}

/** @returns what `--version` prints, undefined where it cannot be started here; and what was done, for people */
function start(
  platform: Platform,
  file: string,
  { interpreter }: ElfNeeds,
): readonly [printed: string | undefined, how: string] {
  if (platform === here) {
    try {
      return [
        runInEmptyRoot(file, ['--version'], mayHave),
        'starts in an empty root with the libraries it needs',
      ];
    } catch (error) {
      if (!(error instanceof NoRoot))
        throw new Error(`${basename(file)} does not start: ${(error as Error).message}`);
      return [run(file, ['--version'], out), `starts; not tried in an empty root: ${error.message}`];
    }
  }
  const { emulated, emulatorLibraries } = platform;
  const emulator = [`qemu-${emulated}`, `qemu-${emulated}-static`].find(isProgram);
  if (emulator === undefined)
    return [undefined, `not started here: only its header was checked (no qemu-${emulated})`];
  if (!existsSync(join(emulatorLibraries, interpreter)))
    return [
      undefined,
      `not started here: only its header was checked (no libraries in ${emulatorLibraries})`,
    ];
  return [run(emulator, ['-L', emulatorLibraries, file, '--version'], out), `starts under ${emulator}`];
}

function isProgram(name: string): boolean {
  const { error } = spawnSync(name, ['--version'], { stdio: 'ignore' });
  return error === undefined;
}

/** @returns standard output @throws Error with all output of a command that fails */
function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, {
      cwd,
      encoding: 'utf8',
      stdio: 'pipe',
      env: { PATH: process.env['PATH'] },
    });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${basename(command)} ${args.join(' ')} failed: ${`${stdout}${stderr}`.trim()}`);
  }
}

function notesFor(needs: ReadonlyMap<Platform, ElfNeeds>): string {
  const executables = [...needs].map(([platform, { interpreter, libraries, versions }]) =>
    [
      `${executable(platform)}`,
      `  loader     ${interpreter}`,
      ...libraries.map((library, i) => `  ${i === 0 ? 'libraries ' : '          '} ${library}`),
      `  symbols    ${versions.join(', ')}`,
    ].join('\n'),
  );
  return `omni-airgap ${version}

The executables contain Node.js ${process.version}. They need Linux with glibc ${allowed.glibc.slice(6)} or newer, ${allowed.libraries.join(' and ')}.
${module} needs Node.js 22.19 or newer, and nothing of the above: it is for musl and for other processors.

${executables.join('\n\n')}
`;
}

/** Our own, that of Node.js, and those of every package that one of the files comes from; each text once. */
function licensesOf(inputs: readonly string[]): string {
  const folders = new Set(
    inputs.flatMap((input) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input)?.[0] ?? []),
  );
  const titles = new Map<string, string[]>();
  const add = (title: string, folder: string): void => {
    const text = licenseIn(folder);
    titles.set(text, [...(titles.get(text) ?? []), title]);
  };
  add('omni-airgap', root);
  for (const platform of platforms)
    add(`Node.js ${process.version} (in ${executable(platform)})`, nodePackage(platform));
  for (const folder of [...folders].map((path) => join(root, path)).sort()) {
    const { name, version: its, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    add(`${name} ${its} (${license})`, folder);
  }
  const line = '='.repeat(80);
  return [...titles]
    .map(([text, names]) => `${line}\n${names.join('\n')}\n${line}\n\n${text.trim()}\n`)
    .join('\n');
}

function licenseIn(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.md|\.txt)?$/i.test(name));
  return file === undefined ? 'Its package has no license text.' : readFileSync(join(folder, file), 'utf8');
}

async function sumOf(folder: string, name: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(folder, name)), hash);
  return `${hash.digest('hex')}  ${name}\n`;
}

async function release(): Promise<void> {
  if (here === undefined || process.execPath !== nodeOf(here))
    throw new Error(
      `a release is made by the pinned Node.js, on Linux on x86-64 or arm64; this is ${process.execPath}`,
    );
  mkdirSync(out, { recursive: true });
  const work = mkdtempSync(join(out, '.release-'));
  try {
    const [folder, scratch] = ['files', 'scratch'].map((name) => join(work, name)) as [string, string];
    for (const path of [folder, scratch]) mkdirSync(path);
    const inputs = await bundleModule(folder);
    await bundleExecutables(here, folder, scratch);
    const needs = new Map(platforms.map((platform) => [platform, check(platform, folder)]));
    writeFileSync(join(folder, licenses), licensesOf(inputs));
    writeFileSync(join(folder, notes), notesFor(needs));
    const files = [...platforms.map(executable), module, licenses, notes];
    writeFileSync(join(folder, sums), (await Promise.all(files.map((name) => sumOf(folder, name)))).join(''));
    for (const name of [...files, sums]) renameSync(join(folder, name), join(out, name));
    console.log(`Wrote ${[...files, sums].join(', ')} to ${out}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await release();
} catch (error) {
  console.error(`release: ${(error as Error).message}`);
  process.exitCode = 1;
}
