/** Where a bucket is, from flags, variables and the AWS files: nothing on the Internet unless somebody names it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { parseObjectStore } from '../src/open-sink.ts';

const keys = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' };

/** AWS files with this text as the configuration. */
async function withConfig(text: string): Promise<void> {
  const folder = await temporary();
  const files = { AWS_CONFIG_FILE: join(folder, 'config'), AWS_SHARED_CREDENTIALS_FILE: join(folder, 'no') };
  await writeFile(files.AWS_CONFIG_FILE, text);
  for (const [name, path] of Object.entries(files)) {
    const before = process.env[name];
    process.env[name] = path;
    onTestFinished(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
  }
}

async function endpointOf(flag: string | undefined, env: Record<string, string>): Promise<string> {
  const target = await parseObjectStore('s3://talos', flag, { ...keys, ...env });
  return target.kind === 's3' ? target.settings.endpoint.href : '';
}

const profile =
  '[default]\nendpoint_url = https://default.site\n[profile lab]\nendpoint_url = https://lab.site\n';

test.each([
  [
    'the flag',
    'https://flag.site:9000',
    { AWS_ENDPOINT_URL_S3: 'https://s3.site' },
    'https://flag.site:9000/',
  ],
  [
    'the variable of S3',
    undefined,
    { AWS_ENDPOINT_URL_S3: 'https://s3.site', AWS_ENDPOINT_URL: 'https://all.site' },
    'https://s3.site/',
  ],
  ['the variable of all services', undefined, { AWS_ENDPOINT_URL: 'https://all.site' }, 'https://all.site/'],
  ['the profile', undefined, { AWS_PROFILE: 'lab' }, 'https://lab.site/'],
  ['the default profile', undefined, { AWS_ENDPOINT_URL_S3: '' }, 'https://default.site/'],
])('C12 the endpoint comes from %s', async (_, flag, env, expected) => {
  await withConfig(profile);
  expect(await endpointOf(flag, env)).toBe(expected);
});

test.each([{}, { AWS_REGION: 'eu-central-1' }, { AWS_ENDPOINT_URL_S3: '', AWS_ENDPOINT_URL: '' }])(
  'C12 without an endpoint nobody is asked (%j)',
  async (env) => {
    await withConfig('[default]\nregion = us-east-1\n');
    await expect(endpointOf(undefined, env)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--s3-endpoint URL'),
    });
  },
);

test.each([
  ['--s3-endpoint s3.site:9000', 's3.site:9000', {}],
  ['--s3-endpoint ftp://s3.site', 'ftp://s3.site', {}],
  ['AWS_ENDPOINT_URL_S3 nowhere', undefined, { AWS_ENDPOINT_URL_S3: 'nowhere' }],
  ['AWS_ENDPOINT_URL nowhere', undefined, { AWS_ENDPOINT_URL: 'nowhere' }],
])('a bad endpoint is refused where it was written: %s', async (where, flag, env) => {
  await withConfig('');
  await expect(endpointOf(flag, env)).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringContaining(where),
  });
});

test.each([
  ['s3://Talos', '"T" is not allowed in a bucket name'],
  ['s3://talos_media', '"_" is not allowed in a bucket name'],
  ['s3://tenant:talos', '":" is not allowed in a bucket name'],
  ['s3://ab', '3 to 63 characters'],
  ['s3://', '3 to 63 characters'],
  ['s3://talos-', 'begins and ends with a letter or digit'],
  ['s3://talos/omni+x', '"+" is not allowed in a prefix'],
  ['s3://talos/../x', 'each segment of a prefix begins'],
  ['s3://talos/a//b', 'each segment of a prefix begins'],
  ['talos', 'write s3://BUCKET[/PREFIX]'],
  ['https://talos', 'write s3://BUCKET[/PREFIX]'],
])('S7 %s names no place, and the character is named', async (text, problem) => {
  await expect(parseObjectStore(text, 'https://s3.site', keys)).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(problem),
  });
});
