/** Name and version of this program, as records and reports state them. */
import manifest from '../package.json' with { type: 'json' };

export const version: string = manifest.version;
export const tool: string = `omni-airgap ${manifest.version}`;
