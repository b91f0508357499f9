/**
 * The release, for where nothing can be installed: `scripts/release [DIR]`, by default into dist/.
 *
 *   omni-airgap       one executable with Node.js in it, for this kind of machine
 *   omni-airgap.mjs   the same program as one readable file, for any machine with Node.js 22.19 or newer
 *   LICENSES.txt      of all that is in them
 *   SHA256SUMS        of these files; the same clone makes the same bytes
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { build } from 'esbuild';
import { nodeFlags } from './lib/node-flags.ts';

const root = join(import.meta.dirname, '..');
const out = resolve(process.argv[2] ?? join(root, 'dist'));
const [module, executable, licenses] = ['omni-airgap.mjs', 'omni-airgap', 'LICENSES.txt'];

/** @returns the files that went in, relative to the clone */
async function bundleModule(): Promise<readonly string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['packages/cli/src/main.ts'],
    outfile: join(out, module),
    bundle: true,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    legalComments: 'none',
    logLevel: 'warning',
    // Libraries in the older module format ask for parts of Node.js by require.
    banner: {
      js: "#!/usr/bin/env node\nimport { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);",
    },
  });
  return Object.keys(metafile.inputs);
}

function bundleExecutable(): void {
  const folder = mkdtempSync(join(tmpdir(), 'omni-airgap-release-'));
  try {
    const config = join(folder, 'sea.json');
    const settings = {
      main: module,
      mainFormat: 'module',
      output: executable,
      disableExperimentalSEAWarning: true,
      execArgv: nodeFlags,
    };
    writeFileSync(config, JSON.stringify(settings));
    // From the folder itself: the path of `main` becomes part of the executable.
    execFileSync(process.execPath, ['--build-sea', config], {
      cwd: out,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Our own, that of Node.js, and those of every package that one of the files comes from; each text once. */
function licencesOf(inputs: readonly string[]): string {
  const folders = new Set(
    inputs.flatMap((input) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input)?.[0] ?? []),
  );
  const titles = new Map<string, string[]>();
  const add = (title: string, folder: string): void => {
    const text = licenceIn(folder);
    titles.set(text, [...(titles.get(text) ?? []), title]);
  };
  add('omni-airgap', root);
  add(`Node.js ${process.version} (in the executable)`, join(dirname(process.execPath), '..'));
  for (const folder of [...folders].map((path) => join(root, path)).sort()) {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    add(`${name} ${version} (${license})`, folder);
  }
  const line = '='.repeat(80);
  return [...titles]
    .map(([text, names]) => `${line}\n${names.join('\n')}\n${line}\n\n${text.trim()}\n`)
    .join('\n');
}

function licenceIn(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.md|\.txt)?$/i.test(name));
  return file === undefined
    ? 'Its package brings no text of its licence.'
    : readFileSync(join(folder, file), 'utf8');
}

async function sumOf(name: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(out, name)), hash);
  return `${hash.digest('hex')}  ${name}\n`;
}

mkdirSync(out, { recursive: true });
const inputs = await bundleModule();
bundleExecutable();
writeFileSync(join(out, licenses), licencesOf(inputs));
const sums = await Promise.all([executable, module, licenses].map(sumOf));
writeFileSync(join(out, 'SHA256SUMS'), sums.join(''));
console.log(`Wrote ${executable}, ${module}, ${licenses} and SHA256SUMS into ${out}`);
