/** What a TypeScript source imports, by its syntax tree: static, dynamic, type-only, re-exported, required. */
import { parseAst } from 'vitest/node';

export interface Import {
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
}

type Node = Readonly<Record<string, unknown>>;

/** @throws what the parser throws when `source` is not TypeScript */
export function importsOf(source: string): Import[] {
  const found: Import[] = [];
  visit(parseAst(source, { lang: 'ts' }) as unknown as Node, (node) => {
    const literal = importedBy(node);
    if (literal === undefined) return;
    // A computed specifier cannot be judged; it is handed out as something that no rule allows.
    const specifier = literal['type'] === 'Literal' ? String(literal['value']) : '(computed)';
    const line = source.slice(0, node['start'] as number).split('\n').length;
    found.push({ specifier, line });
  });
  return found;
}

function importedBy(node: Node): Node | undefined {
  switch (node['type']) {
    case 'ImportDeclaration':
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return (node['source'] ?? undefined) as Node | undefined;
    case 'TSExternalModuleReference':
      return node['expression'] as Node;
    case 'CallExpression': {
      const callee = node['callee'] as Node;
      return callee['name'] === 'require' ? (node['arguments'] as Node[])[0] : undefined;
    }
    default:
      return undefined;
  }
}

function visit(node: Node, see: (node: Node) => void): void {
  if (typeof node['type'] === 'string') see(node);
  for (const child of Object.values(node)) {
    if (typeof child === 'object' && child !== null) visit(child as Node, see);
  }
}
