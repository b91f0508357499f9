/** The omni-airgap command: reads the command line, runs one command, ends with its exit code. */
import { enableCompileCache } from 'node:module';

// Before the imports that cost: a compiled copy of every module is kept for the next start.
enableCompileCache();
const { run } = await import('./run.ts');
process.exitCode = await run(process.argv.slice(2));
