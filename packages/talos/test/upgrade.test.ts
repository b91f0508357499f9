/** Upgrade paths by the vendors' rules. */
import { describe, expect, test } from 'vitest';
import { leavingVersions, productsToUpgrade, upgradeOrder, upgradePaths } from '../src/index.ts';

const of = (product: string, ...versions: string[]) => [{ product, versions }];
const listed = new Map([
  [
    'Talos',
    ['v1.11.6', 'v1.12.4', 'v1.12.11', 'v1.13.9', 'v1.13.10', 'v1.14.0', 'v1.14.1', 'v1.15.0-beta.0'],
  ],
  ['Kubernetes', ['v1.34.3', 'v1.35.0', 'v1.35.2', 'v1.36.1']],
  ['Omni', ['v1.8.2', 'v1.9.0', 'v1.9.7', 'v1.10.4', 'v1.11.0']],
]);
const pathOf = (product: string, inside: string[], carried: string[]) =>
  upgradePaths(of(product, ...inside), of(product, ...carried), listed)[0];

test('Talos: the latest patch of each minor release on the way, the one that is left included', () => {
  expect(pathOf('Talos', ['v1.11.2'], ['v1.14.1'])).toMatchObject({
    from: 'v1.11.2',
    to: 'v1.14.1',
    steps: ['v1.11.2', 'v1.11.6', 'v1.12.11', 'v1.13.10', 'v1.14.1'],
    skipped: ['v1.12', 'v1.13'],
    add: ['v1.11.6', 'v1.12.11', 'v1.13.10'],
    unavailable: [],
    source: expect.stringContaining('docs.siderolabs.com/talos'),
  });
});

test('Kubernetes and Omni: one of each minor release, whichever patch there is', () => {
  expect(pathOf('Kubernetes', ['v1.34.1'], ['v1.36.1'])).toMatchObject({
    steps: ['v1.34.1', 'v1.35.2', 'v1.36.1'],
    skipped: ['v1.35'],
    add: ['v1.35.2'],
  });
  expect(pathOf('Omni', ['v1.8.0'], ['v1.9.0', 'v1.10.4'])).toMatchObject({
    steps: ['v1.8.0', 'v1.9.0', 'v1.10.4'],
    skipped: [],
    add: [],
  });
});

test('what the site has, or the set, needs no adding', () => {
  expect(pathOf('Talos', ['v1.12.11', 'v1.13.9'], ['v1.13.10', 'v1.14.1'])).toMatchObject({
    from: 'v1.12.11',
    steps: ['v1.12.11', 'v1.13.10', 'v1.14.1'],
    skipped: [],
    add: [],
  });
});

test('a minor release that upstream lists nothing of is named', () => {
  expect(pathOf('Omni', ['v1.6.0'], ['v1.8.2'])).toMatchObject({
    steps: ['v1.6.0', 'v1.8.2'],
    skipped: ['v1.7'],
    add: [],
    unavailable: ['v1.7'],
  });
});

test.each([
  ['the same minor release', 'Talos', ['v1.13.9'], ['v1.13.10']],
  ['an older one', 'Talos', ['v1.13.9'], ['v1.12.4']],
  ['another major release', 'Omni', ['v1.10.4'], ['v2.0.0']],
  ['what has no rule', 'Image Factory', ['v1.3.0'], ['v1.5.0']],
  ['nothing inside', 'Omni', [], ['v1.10.4']],
])('%s has no path', (_what, product, inside, carried) => {
  expect(productsToUpgrade(of(product, ...inside), of(product, ...carried))).toEqual([]);
  expect(pathOf(product, inside, carried)).toBeUndefined();
});

describe('the order of all steps', () => {
  const orderOf = (inside: ReturnType<typeof of>, carried: ReturnType<typeof of>) =>
    upgradeOrder(upgradePaths(inside, carried, listed), inside)?.map(
      ({ product, version }) => `${product} ${version}`,
    );

  test('Omni, Talos, Kubernetes, where nothing stands against it', () => {
    const inside = [...of('Omni', 'v1.9.0'), ...of('Talos', 'v1.12.11'), ...of('Kubernetes', 'v1.34.3')];
    const carried = [...of('Omni', 'v1.10.4'), ...of('Talos', 'v1.13.10'), ...of('Kubernetes', 'v1.36.1')];
    expect(orderOf(inside, carried)).toEqual([
      'Omni v1.10.4',
      'Talos v1.13.10',
      'Kubernetes v1.35.2',
      'Kubernetes v1.36.1',
    ]);
  });

  test('in turns, where a Talos version takes neither the oldest nor the newest Kubernetes', () => {
    const lists = new Map([
      ['Talos', ['v1.10.5', 'v1.11.6', 'v1.12.11', 'v1.13.10']],
      ['Kubernetes', ['v1.28.9', 'v1.29.1', 'v1.30.1', 'v1.31.1', 'v1.32.1', 'v1.33.1', 'v1.34.1']],
    ]);
    const inside = [...of('Talos', 'v1.10.5'), ...of('Kubernetes', 'v1.28.9')];
    const carried = [...of('Talos', 'v1.13.10'), ...of('Kubernetes', 'v1.34.1')];
    const order = upgradeOrder(upgradePaths(inside, carried, lists), inside) ?? [];
    // Talos 1.11 takes 1.29 to 1.34, 1.12 takes 1.30 on, 1.13 takes 1.31 on.
    expect(order.map(({ version }) => version)).toEqual([
      ...['v1.29.1', 'v1.11.6', 'v1.30.1', 'v1.12.11', 'v1.31.1', 'v1.13.10'],
      ...['v1.32.1', 'v1.33.1', 'v1.34.1'],
    ]);
  });

  test('none, where the versions to come do not fit', () => {
    const inside = [...of('Talos', 'v1.11.6'), ...of('Kubernetes', 'v1.34.3')];
    const carried = [...of('Talos', 'v1.12.11'), ...of('Kubernetes', 'v1.36.1')];
    expect(orderOf(inside, carried)).toBeUndefined();
  });
});

test('versions inside that are carried no more', () => {
  expect(
    leavingVersions(
      [...of('Omni', 'v1.10.4'), ...of('Talos', 'v1.12.4', 'v1.13.9'), ...of('Kubernetes', 'v1.36.1')],
      [...of('Omni', 'v1.10.4'), ...of('Talos', 'v1.13.9')],
    ),
  ).toEqual([...of('Talos', 'v1.12.4'), ...of('Kubernetes', 'v1.36.1')]);
});
