/** Words of the command line that no command has. */
import { expect, test } from 'vitest';
import { run } from '../src/run.ts';

test.each(['constructor', '__proto__', 'toString', 'nothing'])(
  'A20 %s is no command, with --help neither',
  async (word) => {
    for (const args of [[word], [word, '--help']]) {
      let said = '';
      const take = (text: string): void => {
        said += text;
      };
      const output = { stdout: take, notice: take, stderr: take, isTerminal: false };
      expect(await run(args, { ...output, lost: async () => undefined })).toBe(2);
      expect(said).toBe(`omni-airgap: ${word}: no such command; omni-airgap --help lists them [USAGE]\n`);
    }
  },
);
