/**
 * "Will it work inside?": what is known against a set of content, before it crosses. Pure: names and facts in, findings
 * out, so that plan, fetch, bundle and the report say the same.
 */
import { artifactName } from '../artifact.ts';
import { nearestName } from '../errors.ts';
import { parseInstallerRepository, publicFactoryHost } from '../factory.ts';
import { versionsOf } from '../images/products.ts';
import { isMediaName, knownPlatforms, parseMediaName } from '../media.ts';
import type { Site } from '../site.ts';
import { compareVersions } from '../version.ts';
import { unmetDemands } from './demands.ts';
import { fitWarnings } from './fit.ts';
import { missingInstallersOf } from './installers.ts';
import { type ReachedRegistry, registryUrl } from './registry.ts';

/** Where Omni inside gets an Image Factory from. */
export const factoryWays = ['existing', 'carried', 'serve'] as const;
type FactoryWay = (typeof factoryWays)[number];

/** What mirror.yaml says of the site, mostly in its section `inside`; what is left out is not known. */
export interface InsideFacts {
  /** Talos versions that machines run, of `talos.versions`: a set of Kubernetes images alone does not name them. */
  readonly talos?: readonly string[] | undefined;
  /** Kind of the registry, by its id among the rules, or `serve`. */
  readonly registry?: string | undefined;
  /** Whether machines and Omni reach the registry over HTTPS. */
  readonly tls?: boolean | undefined;
  /**
   * `existing`: one that runs already; `carried`: one that starts from this set; `serve`: `omni-airgap serve` with this
   * set.
   */
  readonly factory?: FactoryWay | undefined;
}

export interface SiteFacts {
  readonly inside?: InsideFacts | undefined;
  /** The site file, where one was given. */
  readonly site?: Site | undefined;
}

/** One name of the set. */
export interface CarriedName {
  /** Canonical reference. */
  readonly name: string;
  /** What it stands for, where that is known. */
  readonly digest?: string | undefined;
  /** Kinds of content below it that registries may refuse, in the words of the rules. */
  readonly shapes?: readonly string[];
  /** Of an index: the platforms that are carried, where not all are. */
  readonly platforms?: readonly string[] | undefined;
  /** Names of files, of a set of boot assets. */
  readonly files?: readonly string[] | undefined;
}

/** What one kind of registry refuses. Rules about content have no `statuses`-like conditions here: `what` tells. */
export interface RegistryRules {
  readonly id: string;
  readonly name: string;
  readonly refuses: readonly {
    readonly what: string;
    readonly refuses: string;
    readonly says?: RegExp;
    readonly remedy: string;
    /** With version or date. */
    readonly source: string;
  }[];
}

/**
 * `error`: it cannot work, fetch and bundle refuse it. `warning`: it does not work without a change that can be made
 * inside too, or is not supported. `confirm`: depends on a fact about the site that is not known.
 */
export interface InsideFinding {
  readonly level: 'error' | 'warning' | 'confirm';
  /** One line: what does not work, and what to do. */
  readonly message: string;
}

/**
 * @param carried all names of the set, those of signatures included
 * @param rules the kinds of registries that are known
 * @returns findings, errors first; empty when nothing is known against it
 */
export function insideFindings(
  carried: readonly CarriedName[],
  facts: SiteFacts,
  rules: readonly RegistryRules[],
): readonly InsideFinding[] {
  const versions = new Map(
    versionsOf(carried.map(({ name }) => name)).map((one) => [one.product, one.versions]),
  );
  const omni = versions.get('Omni')?.at(-1);
  const factory = versions.get('Image Factory')?.at(-1);
  const talos = new Set([...(versions.get('Talos') ?? []), ...(facts.inside?.talos ?? [])]);
  const fits = fitWarnings({
    talos: [...talos].sort(compareVersions),
    kubernetes: versions.get('Kubernetes') ?? [],
    ...(omni === undefined ? {} : { omni }),
    ...(factory === undefined ? {} : { factory }),
  });
  const findings = [
    ...(omni === undefined ? [] : factoryFindings(omni, factory, carried, facts)),
    ...(omni === undefined ? [] : installerFindings(factory, carried, facts)),
    ...encryptionFindings(omni, facts),
    ...demandFindings(omni, factory, facts),
    ...fits.map(warning),
    ...platformFindings(carried),
    ...collisions(carried),
    ...registryFindings(carried, facts, rules),
  ];
  const order: readonly InsideFinding['level'][] = ['error', 'warning', 'confirm'];
  return order.flatMap((level) => findings.filter((one) => one.level === level));
}

/**
 * Why a set is not carried.
 * @param isStrict warnings count as well
 * @returns undefined where nothing stands against it
 */
export function insideRefusal(findings: readonly InsideFinding[], isStrict: boolean): string | undefined {
  const of = (level: InsideFinding['level']): readonly string[] =>
    findings.filter((one) => one.level === level).map(({ message }) => message);
  const errors = of('error');
  if (errors.length > 0) return `it will not work inside: ${errors.join('; ')}`;
  const warnings = isStrict ? of('warning') : [];
  return warnings.length === 0
    ? undefined
    : `--strict: ${warnings.length === 1 ? 'a warning' : `${warnings.length} warnings`} about the site: ${warnings.join('; ')}`;
}

const error = (message: string): InsideFinding => ({ level: 'error', message });
const warning = (message: string): InsideFinding => ({ level: 'warning', message });
const confirm = (message: string): InsideFinding => ({ level: 'confirm', message });

/** Omni starts no machine without an Image Factory. Source: docs.siderolabs.com, "Run Omni air-gapped". */
function factoryFindings(
  omni: string,
  factory: string | undefined,
  carried: readonly CarriedName[],
  { inside, site }: SiteFacts,
): readonly InsideFinding[] {
  const lists = artifactName({ kind: 'list', list: 'versions' });
  switch (inside?.factory) {
    case 'existing':
      return [];
    case 'carried':
      return factory === undefined
        ? [error('inside.factory is carried, but no Image Factory is; add talos.imageFactory to mirror.yaml')]
        : [];
    case 'serve':
      return carried.some(({ name }) => name === lists)
        ? []
        : [
            error(
              'inside.factory is serve, which offers Omni the Talos versions of carried boot assets, and there are none; add media to mirror.yaml',
            ),
          ];
    default: {
      if (factory !== undefined) return [];
      const url = site?.factory === undefined ? '' : ` (${site.factory})`;
      return [
        confirm(
          `Omni ${omni} needs an Image Factory${url} and none is carried; add talos.imageFactory to mirror.yaml, or confirm how the site has one with inside: {factory: existing} or {factory: serve}`,
        ),
      ];
    }
  }
}

/** What machines that boot carried media install from, where neither it nor what it is built from is carried. */
function installerFindings(
  factory: string | undefined,
  carried: readonly CarriedName[],
  { inside }: SiteFacts,
): readonly InsideFinding[] {
  if (inside?.factory === 'existing') return [];
  const isServed = inside?.factory === 'serve' || (inside?.factory === undefined && factory === undefined);
  const names = new Set(carried.map(({ name }) => name));
  const builds = (version: string): boolean => !isServed && names.has(`ghcr.io/siderolabs/imager:${version}`);
  return missingInstallersOf(carried, builds).map(({ id, versions, installers }) => {
    const remedy = isServed
      ? `serve builds nothing; add installers: [${installers.join(', ')}] beside that schematic in mirror.yaml`
      : `the Image Factory builds only what it has sources of; add ${versions.join(', ')} to talos.versions`;
    return warning(
      `machines that boot the carried media of schematic ${id} (Talos ${versions.join(', ')}) install from its installer, which is not carried, and ${remedy}`,
    );
  });
}

/** Omni has no flag for a registry without TLS. Source: siderolabs/omni internal/pkg/registry/registry.go. */
function encryptionFindings(omni: string | undefined, { inside, site }: SiteFacts): readonly InsideFinding[] {
  const reached = reachedBy(site);
  if (reached !== undefined && inside?.tls === reached.plainHttp) {
    const place = site?.registry?.place ?? '';
    return [
      error(
        `inside.tls of mirror.yaml is ${inside.tls}, but ${place} says ${registryUrl(reached)}; correct one of them`,
      ),
    ];
  }
  // What is known of its URL is judged by the demands of its consumers.
  if (omni === undefined || reached !== undefined) return [];
  const otherwise = `reach it by its address in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16`;
  if (inside?.tls === true) return [];
  return inside?.tls === false
    ? [
        warning(
          `the registry has no TLS (inside.tls: false): by a name, Omni ${omni} could not read it and would offer no Kubernetes and no Talos; give it a certificate, or ${otherwise}`,
        ),
      ]
    : [
        confirm(
          `Omni ${omni} reads the registry over HTTPS; confirm with inside: {tls: true}, or ${otherwise}`,
        ),
      ];
}

/** As load judges the site file. */
function demandFindings(
  omni: string | undefined,
  factory: string | undefined,
  { inside, site }: SiteFacts,
): readonly InsideFinding[] {
  if (site === undefined) return [];
  const selfHosted = inside?.factory === undefined ? factory !== undefined : inside.factory !== 'serve';
  return unmetDemands(site, reachedBy(site), { selfHosted }).flatMap(
    ({ subject, consumer, severity, problem }) => {
      if (severity === 'limits' || (consumer === 'Omni' && omni === undefined)) return [];
      const isRefused = subject === 'registry' && severity === 'fails';
      return [isRefused ? error(`${site.registry?.place ?? ''}: ${problem}`) : warning(problem)];
    },
  );
}

/** The registry, where the site file says all of it. */
function reachedBy(site: Site | undefined): ReachedRegistry | undefined {
  const { host, prefix = '', plainHttp } = site?.registry ?? {};
  return host === undefined || plainHttp === undefined ? undefined : { host, prefix, plainHttp };
}

/** The factory decides; what it is asked for under a platform that is not known here may be misspelt. */
function platformFindings(carried: readonly CarriedName[]): readonly InsideFinding[] {
  const asked = new Set<string>();
  for (const { name, files = [] } of carried) {
    const [repository = ''] = name.startsWith(`${publicFactoryHost}/`)
      ? name.slice(publicFactoryHost.length + 1).split('/')
      : [];
    const installer = parseInstallerRepository(repository)?.platform;
    if (installer !== undefined) asked.add(installer);
    for (const file of files) {
      const media = isMediaName(file) ? parseMediaName(file) : undefined;
      if (media !== undefined && 'platform' in media && media.platform !== undefined)
        asked.add(media.platform);
    }
  }
  return [...asked]
    .filter((platform) => !knownPlatforms.includes(platform))
    .map((platform) => {
      const nearest = nearestName(platform, knownPlatforms);
      const hint =
        nearest === undefined ? `; known are ${knownPlatforms.join(', ')}` : `; did you mean ${nearest}?`;
      return warning(`${platform} is not a known platform of Talos${hint}`);
    });
}

const mostNamed = 5;

/** Names lose their host inside. */
function collisions(carried: readonly CarriedName[]): readonly InsideFinding[] {
  const taken = new Map<string, CarriedName>();
  const pairs: string[] = [];
  for (const one of carried) {
    const slash = one.name.indexOf('/');
    const place = one.name.slice(slash + 1);
    if (one.digest === undefined || place.includes('@')) continue;
    const other = taken.get(place);
    if (other === undefined) taken.set(place, one);
    else if (other.digest !== one.digest) pairs.push(`${other.name} and ${one.name}`);
  }
  if (pairs.length === 0) return [];
  const more = pairs.length > mostNamed ? `, and ${pairs.length - mostNamed} more` : '';
  return [
    warning(
      `names that become one without their host, with different content: ${pairs.slice(0, mostNamed).join('; ')}${more}; load them with --keep-host, which puts every image of the site below its host`,
    ),
  ];
}

/** A rule that content of the set meets. */
interface Met {
  readonly said: string;
  /** What to do, and where the rule is known from. */
  readonly advice: string;
}

function registryFindings(
  carried: readonly CarriedName[],
  { inside, site }: SiteFacts,
  rules: readonly RegistryRules[],
): readonly InsideFinding[] {
  const meets = (kind: RegistryRules): readonly Met[] =>
    kind.refuses.flatMap(({ what, refuses, remedy, source }) => {
      const names = carried.filter(({ shapes = [] }) => shapes.includes(what));
      const [first] = names;
      if (first === undefined) return [];
      const others = names.length > 1 ? ` and ${names.length - 1} more` : '';
      const name = first.name.replace(/[0-9a-f]{64}/g, (hex) => hex.slice(0, 12));
      const said = `${kind.name} refuses ${refuses} (${name}${others})`;
      const ways = what === 'sparse' ? `; or ${waysForSparse(names)}` : '';
      return [{ said, advice: `${remedy}${ways} [${source}]` }];
    });
  if (inside?.registry === undefined) {
    const met = rules.flatMap(meets).map(({ said }) => said);
    return met.length === 0
      ? []
      : [confirm(`the kind of the registry, with inside: {registry: KIND}: ${met.join('; ')}`)];
  }
  const kind = rules.find(({ id }) => id === inside.registry);
  if (kind === undefined) return [];
  // Whether load will name a path below it is seen from the site file alone.
  const hasPrefix = (site?.registry?.prefix ?? '') !== '';
  const places = kind.refuses.filter(({ what, says }) => what === 'push' && says === undefined && !hasPrefix);
  return [
    ...meets(kind).map(({ said, advice }) => warning(`${said}; ${advice}`)),
    ...places.map(({ refuses, remedy, source }) =>
      confirm(`${kind.name} refuses ${refuses}; ${remedy} [${source}]`),
    ),
  ];
}

function waysForSparse(names: readonly CarriedName[]): string {
  const hasSingle = names.some(({ platforms }) => platforms?.length === 1);
  return `carry all platforms, or load with --trim-indexes${hasSingle ? ' (--flatten where one platform is carried)' : ''}`;
}
