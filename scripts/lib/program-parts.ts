/**
 * The program of the executables, in parts. Node.js compiles the main program of an executable whole before it starts,
 * and keeps nothing of that for the next start. So the main program here is only what loads the parts: one that holds
 * what every command needs, one for what each command needs alone, and for what several share. Each is compiled when
 * it is needed.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type BuildOptions, build, transform } from 'esbuild';

/** The main program, CommonJS. It is the only code that runs before the parts, and is written out as it is. */
const loader = `'use strict';
const { getRawAsset } = require('node:sea');
const { pathToFileURL } = require('node:url');
const { Script } = require('node:vm');

const moduleUrl = pathToFileURL(__filename).href;
const loaded = new Map();

function load(name) {
  const known = loaded.get(name);
  if (known !== undefined) return known.exports;
  const module = { exports: {} };
  loaded.set(name, module);
  const text = Buffer.from(getRawAsset(name)).latin1Slice();
  const parameters = 'module, exports, require, moduleUrl, __filename, __dirname';
  const script = new Script(\`(function (\${parameters}) {\${text}\\n})\`, { filename: name });
  const requireHere = Object.assign((id) => (id.startsWith('./') ? load(id.slice(2)) : require(id)), require);
  script.runInThisContext()(module, module.exports, requireHere, moduleUrl, __filename, __dirname);
  // Of a library in CommonJS that is loaded by import(), esbuild exports the default alone, Node.js its names as well.
  const library = module.exports.default;
  if (Object.keys(module.exports).join() === 'default' && typeof library === 'object')
    module.exports = { __esModule: true, ...library, default: library };
  return module.exports;
}

load('main.js');
`;

export interface ProgramParts {
  /** Name of the file with the main program, which becomes part of the executable. */
  readonly main: string;
  /** File names of the parts, by the names that the main program has for them: the same. */
  readonly assets: Readonly<Record<string, string>>;
}

/**
 * Writes the program of an entry point in parts.
 * @param options of esbuild, with the entry point; `moduleUrl` is a variable in every part: the URL of the executable
 * @param folder gets the files, and is where Node.js must be started to find them
 */
export async function writeProgramParts(options: BuildOptions, folder: string): Promise<ProgramParts> {
  // Only modules can be split; as a second step they become CommonJS, which an executable can load.
  const { outputFiles = [] } = await build({
    ...options,
    format: 'esm',
    splitting: true,
    outdir: folder,
    entryNames: 'main',
    chunkNames: 'part-[hash]',
    write: false,
    minify: true,
    // Errors and traces show the names of classes.
    keepNames: true,
  });
  const assets: Record<string, string> = {};
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, {
      format: 'cjs',
      supported: { 'dynamic-import': false },
      platform: 'node',
      // Every byte is a character, so that V8 takes the text as it is.
      charset: 'ascii',
      minify: true,
      target: 'node22',
    });
    writeFileSync(path, code);
    assets[basename(path)] = basename(path);
  }
  const main = 'omni-airgap.cjs';
  writeFileSync(join(folder, main), loader);
  return { main, assets };
}
