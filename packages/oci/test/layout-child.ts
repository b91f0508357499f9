/**
 * A process that works on a layout while a test watches, kills it or runs another one:
 *
 *     node layout-child.ts ROOT names FIRST COUNT [GO] gives names app-FIRST … to one manifest, all at once; once there
 *                                                      is a file GO
 *     node layout-child.ts ROOT push SEED COUNT SIZE PAUSE pushes blobs, waiting PAUSE ms after each chunk, and names
 *                                                      a manifest after each blob
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Layout } from '../src/layout/layout.ts';
import { openerOf } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import { generatedBlob } from '../src/testing/generated-blob.ts';
import { buildManifest } from '../src/testing/graph.ts';

const [root = '', mode, ...numbers] = process.argv.slice(2);
const [first = 0, count = 0, size = 0, pause = 0] = numbers.map(Number);
const layout = await Layout.open(root, { create: true });
const config = Buffer.from('{}');
const configDescriptor = descriptorOf(MediaType.ociConfig, config);
await layout.push(configDescriptor, openerOf(config));

const image = async (layers: readonly object[]): Promise<ReturnType<typeof buildManifest>['descriptor']> => {
  const { descriptor, bytes } = buildManifest(MediaType.ociManifest, { config: configDescriptor, layers });
  await layout.push(descriptor, openerOf(bytes));
  return descriptor;
};

if (mode === 'names') {
  const descriptor = await image([]);
  const go = process.argv[6];
  process.stdout.write('ready\n');
  while (go !== undefined && !existsSync(go)) await sleep(5);
  await Promise.all(Array.from({ length: count }, (_, i) => layout.tag(descriptor, `app-${first + i}`)));
} else {
  for (let i = 0; i < count; i++) {
    const { descriptor, open } = await generatedBlob(first + i, size);
    await layout.push(descriptor, async function* (offset) {
      for await (const chunk of open(offset)) {
        yield chunk;
        if (pause > 0) await sleep(pause);
      }
    });
    await layout.tag(await image([descriptor]), `app-${i}`);
  }
}
process.stdout.write(`peak ${process.resourceUsage().maxRSS}\n`);
