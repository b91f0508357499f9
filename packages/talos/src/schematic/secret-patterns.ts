/** Secrets that plain text shows by its form. Every pattern is bounded, so that no text takes long. */
import { zstdDecompressSync } from 'node:zlib';

const patterns: readonly (readonly [RegExp, string])[] = [
  [/jointoken=[^&\s]/i, 'a join token'],
  [/\bv[12]:[A-Za-z0-9+/_-]{20}/, 'a join token'],
  [/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY/, 'a private key'],
  [/\bbearer\s{1,8}[A-Za-z0-9._~+/-]{8}/i, 'a bearer token'],
  [/\beyJ[A-Za-z0-9_-]{8,2000}\.eyJ/, 'a signed token (JWT)'],
  [/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/, 'an access key'],
  [/\b(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{20}/, 'an access token'],
  [
    /(?:^|[^A-Za-z])(?:[a-z_.-]{0,30}[_.-])?(?:token|secret|password|passwd|passphrase|api_?key|private_?key|access_?key|secret_?key)=[^&\s]/i,
    'a secret given as a parameter',
  ],
  [
    /[?&](?:x-amz-(?:signature|credential|security-token)|x-goog-signature|sig|signature)=[^&\s]/i,
    'a signed URL',
  ],
];

const percentLevels = 3;
const maxUserinfo = 1024;
const maxInlineBytes = 4 * 1024 * 1024;

/** One level of percent-encoding taken off; what is malformed stays. */
function percentDecoded(text: string): string {
  return text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  );
}

/** A password, or a long name as tokens are, in front of the host of a URL. */
function hasCredentials(text: string): boolean {
  for (let at = text.indexOf('://'); at >= 0; at = text.indexOf('://', at + 3)) {
    const authority = /^[^/?#\s"'<>]*/.exec(text.slice(at + 3, at + 3 + maxUserinfo))?.[0] ?? '';
    const end = authority.lastIndexOf('@');
    const userinfo = authority.slice(0, Math.max(end, 0));
    if (/:./.test(userinfo) || userinfo.length >= 16) return true;
  }
  return false;
}

/** A key in PEM that stands there in base64, as Talos configuration has it. */
function hasEncodedKey(text: string): boolean {
  const begin = 'LS0tLS1CRUdJTi';
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at + begin.length)) {
    const line = Buffer.from(text.slice(at, at + 100), 'base64').toString('latin1');
    if (line.includes('PRIVATE KEY')) return true;
  }
  return false;
}

/** What the text holds, each kind once: never a value. */
export function secretsInText(text: string): readonly string[] {
  const found = new Set<string>();
  let level = text;
  for (let i = 0; i <= percentLevels; i++) {
    for (const [pattern, what] of patterns) if (pattern.test(level)) found.add(what);
    if (hasCredentials(level)) found.add('credentials in a URL');
    if (hasEncodedKey(level)) found.add('a private key');
    const next = percentDecoded(level);
    if (next === level) break;
    level = next;
  }
  return [...found];
}

/** The configuration inside of `talos.config.inline=` or `.early=`, which is base64 of text or of zstd. */
export function inlineConfiguration(argument: string): string | undefined {
  const encoded = /^talos\.config\.(?:inline|early)=(.+)$/s.exec(argument)?.[1];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  const compressed = bytes.length >= 4 && bytes.readUInt32LE(0) === 0xfd2fb528;
  if (!compressed) return bytes.toString('utf8');
  try {
    return zstdDecompressSync(bytes, { maxOutputLength: maxInlineBytes }).toString('utf8');
  } catch {
    return undefined;
  }
}
