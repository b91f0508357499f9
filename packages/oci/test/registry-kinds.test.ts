/** Kinds of registries: recognized by what they answer, and a remedy only for the cause that it fits. */
import { describe, expect, test } from 'vitest';
import { kindOf, type Refused, reclaimingOf, registryKinds, remedyFor } from '../src/registry/kinds.ts';
import { startRegistry } from './registry.ts';

const kind = (name: string) => {
  const found = registryKinds.find((one) => one.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};

test.each<[name: string | undefined, host: string, headers: Record<string, string>]>([
  [
    'Harbor',
    'r.site',
    { 'www-authenticate': 'Bearer realm="https://r.site/service/token",service="harbor-registry"' },
  ],
  ['Quay', 'r.site', { 'www-authenticate': 'Bearer realm="https://r.site/v2/auth",service="r.site"' }],
  ['GitLab', 'r.site', { 'gitlab-container-registry-version': '4.9.0-gitlab' }],
  [
    'GitLab',
    'r.site',
    { 'www-authenticate': 'Bearer realm="https://git.site/jwt/auth",service="container_registry"' },
  ],
  [
    'Gitea',
    'r.site',
    { 'www-authenticate': 'Bearer realm="https://r.site/v2/token",service="container_registry",scope="*"' },
  ],
  ['Artifactory', 'r.site', { 'x-jfrog-version': 'Artifactory/7.98.9 79809900' }],
  ['Nexus', 'r.site', { server: 'Nexus/3.76.0-03 (COMMUNITY)' }],
  ['Amazon ECR', '123.dkr.ecr.eu-west-1.amazonaws.com', {}],
  ['GHCR', 'ghcr.io', {}],
  [undefined, 'evil-ghcr.io', {}],
  [undefined, 'r.site', { 'docker-distribution-api-version': 'registry/2.0', server: 'nginx' }],
  [undefined, 'r.site', { 'www-authenticate': 'Bearer realm="https://r.site/token",service="test"' }],
])('%s is recognized at %s', (name, host, headers) => {
  expect(kindOf(host, headers)?.name).toBe(name);
});

describe('remedies', () => {
  test.each<
    [name: string | undefined, what: Refused, status: number, words: string, remedy: RegExp | undefined]
  >([
    // What is known of one kind.
    ['Harbor', 'tag', 412, 'PRECONDITION: configured as immutable', /tag immutability rules/],
    ['Harbor', 'push', 404, 'NAME_UNKNOWN', /create the project/],
    ['Nexus', 'tag', 400, 'does not allow updating', /Allow redeploy/],
    ['Amazon ECR', 'tag', 400, 'TAG_INVALID: the repository is immutable', /MUTABLE/],
    // By its words alone, where the kind cannot be told.
    [undefined, 'docker', 415, 'MANIFEST_INVALID', /docker2s2/],
    [undefined, 'pull', 412, 'PROJECTPOLICYVIOLATION: not signed', /signed or scanned/],
    [undefined, 'push', 405, 'UNSUPPORTED', /storage\.maintenance\.readonly/],
    [undefined, 'push', 500, 'UNKNOWN: unknown error', /disk may be full/],
    [
      undefined,
      'delete',
      405,
      'UNSUPPORTED: The operation is unsupported.',
      /storage\.delete\.enabled: true/,
    ],
    ['Harbor', 'delete', 412, 'PRECONDITION: immutable', /tag immutability rules/],
    // Nothing of another kind.
    ['Quay', 'docker', 415, 'MANIFEST_INVALID', undefined],
    ['Harbor', 'tag', 412, 'PRECONDITION', undefined],
    ['GitLab', 'image', 400, 'MANIFEST_INVALID', undefined],
    // Nothing that another status means.
    [undefined, 'tag', 412, '', undefined],
    [undefined, 'push', 404, '', undefined],
    ['Harbor', 'push', 308, '', /redirects to/],
    [undefined, 'push', 308, '', /redirects to/],
    [undefined, 'push', 405, '', /takes no pushes/],
    [undefined, 'push', 413, '', /client_max_body_size/],
    [undefined, 'image', 413, '', undefined],
  ])('%s, %s, %i %s', (name, what, status, words, remedy) => {
    const known = name === undefined ? undefined : kind(name);
    const found = remedyFor(known, what, { status, message: `answers ${status}: ${words}` });
    if (remedy === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(remedy);
  });
  test('each entry says where it is known from, with a version or a date', () => {
    const reclaiming = registryKinds
      .flatMap(({ reclaims }) => reclaims ?? [])
      .filter(({ source }) => source !== 'docs/serving.md');
    const refusals = [...registryKinds.flatMap(({ refuses }) => refuses), ...reclaiming];
    expect(refusals.filter(({ source }) => !/[0-9]/.test(source)).map(({ source }) => source)).toEqual([]);
  });
  test('a client knows its registry after the first answer', async () => {
    const { client } = await startRegistry({ headers: { 'x-jfrog-version': 'Artifactory/7.98.9' } });
    const error = { status: 404, message: 'answers 404: NAME_UNKNOWN' };
    expect(client.remedyFor('push', error)).toBeUndefined();
    await client.ping();
    expect(client.remedyFor('push', error)).toMatch(/local Docker repository/);
  });
});

test('how space is reclaimed: as the kind does, or as each does that does not show itself', async () => {
  const { client } = await startRegistry({ headers: { 'x-jfrog-version': 'Artifactory/7.98.9' } });
  expect([...client.reclaiming.keys()]).toEqual(['Distribution', 'zot', 'olareg', 'omni-airgap serve']);
  await client.ping();
  expect([...client.reclaiming.keys()]).toEqual([]);
  expect([...reclaimingOf(kind('Harbor')).keys()]).toEqual(['Harbor']);
});
