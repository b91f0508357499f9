/** The omni-airgap command: reads the command line, runs one command, ends with its exit code. */
import { enableCompileCache } from 'node:module';

// Before the imports that cost: a compiled copy of every module is kept for the next start.
enableCompileCache();
// Without top-level await: the single executable of a release is a CommonJS bundle, which has none.
void import('./run.ts').then(async ({ run }) => {
  process.exitCode = await run(process.argv.slice(2));
});
