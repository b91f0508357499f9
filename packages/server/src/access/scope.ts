/**
 * What a token is for, as clients ask for it: `repository:siderolabs/omni:pull,push`.
 * Source: distribution v2.8 docs/spec/auth/scope.md.
 */
import { isRepository } from '@omni-airgap/oci/model';

export type Action = 'pull' | 'push' | 'delete' | '*';

export interface Scope {
  readonly type: 'repository' | 'registry';
  /** Of a repository, or `catalog`. */
  readonly name: string;
  readonly actions: readonly Action[];
}

/** The list of all repositories. */
export const catalogScope: Scope = { type: 'registry', name: 'catalog', actions: ['*'] };

const knownActions: readonly string[] = ['pull', 'push', 'delete', '*'] satisfies Action[];
const isAction = (text: string): text is Action => knownActions.includes(text);

/** Clients ask for several by repeating the parameter, or by spaces. */
const separator = /[ ]+/;

/**
 * @param texts values of the parameter `scope`
 * @returns one scope for each name; what is no scope of a registry is left out, as the specification has it
 */
export function parseScopes(texts: readonly string[]): readonly Scope[] {
  const scopes = new Map<string, Scope>();
  for (const text of texts.flatMap((one) => one.split(separator))) {
    const [, type, name = '', list = ''] =
      /^(repository|registry)(?:\([a-z0-9]+\))?:([^:]+):([a-z,*]+)$/.exec(text) ?? [];
    const isNamed = type === 'repository' ? isRepository(name) : name === catalogScope.name;
    if ((type !== 'repository' && type !== 'registry') || !isNamed) continue;
    const before = scopes.get(`${type}:${name}`)?.actions ?? [];
    const actions = [...new Set([...before, ...list.split(',').filter(isAction)])];
    scopes.set(`${type}:${name}`, { type, name, actions });
  }
  return [...scopes.values()];
}

export function scopeText({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(',')}`;
}

/** Whether one of the granted scopes has all that is needed. */
export function isGranted(granted: readonly Scope[], needed: Scope): boolean {
  const found = granted.find(({ type, name }) => type === needed.type && name === needed.name);
  if (found === undefined) return false;
  return found.actions.includes('*') || needed.actions.every((action) => found.actions.includes(action));
}

/** Whether it is no more than everyone may who may pull. */
export function isReading({ type, actions }: Scope): boolean {
  return type === 'registry' || actions.every((action) => action === 'pull');
}

/**
 * What is left of a wish for someone who has not logged in: pulling, and the list of repositories.
 * @returns the scopes with at least one action
 */
export function readingOf(scopes: readonly Scope[]): readonly Scope[] {
  return scopes.flatMap((scope) => {
    if (scope.type === 'registry') return [scope];
    const mayPull = scope.actions.includes('pull') || scope.actions.includes('*');
    return mayPull ? [{ ...scope, actions: ['pull'] }] : [];
  });
}
