/**
 * Runs the sample upstream until it is interrupted, and says how to fetch from it:
 *
 *   node scripts/sample-upstream/main.ts [DIR] [SIZE_MIB]
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSampleUpstream } from './sample-upstream.ts';
import { kubernetesVersion, talosVersion } from './versions.ts';

const [dir = join(tmpdir(), 'omni-airgap-sample'), size = '300'] = process.argv.slice(2);
const sizeMiB = Number(size);
if (!Number.isFinite(sizeMiB) || sizeMiB <= 0) {
  console.error(`SIZE_MIB must be a number above 0, not ${size}`);
  process.exit(2);
}
console.error(`sample content in ${dir} (made now unless it is there) …`);
const upstream = await startSampleUpstream({ dir, sizeMiB });
console.log(`# mirror.yaml for it:
apiVersion: omni-airgap/v1
omni:
  version: v1.10.4
talos:
  versions: [${talosVersion}]
  imageFactory:
    version: v1.5.0
    extensions: [siderolabs/iscsi-tools]
    overlays: []
media:
  - schematic: {customization: {}}
    files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]
kubernetes:
  versions: [${kubernetesVersion}]
images:
  - ghcr.io/dexidp/dex:v2.41.1

# and the flags:
${upstream.upstreamFlags.map((flag) => `#   --upstream ${flag}`).join(' \\\n')}`);
console.error('running; interrupt to stop');
await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
});
await upstream.stop();
