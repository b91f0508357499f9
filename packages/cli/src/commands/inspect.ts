/** omni-airgap inspect */

import {
  type Attachment,
  attachmentsText,
  changesText,
  extractSboms,
  foldedChanges,
  type Inspection,
  inspectBundle,
  inspectStore,
  type SbomReport,
  type SbomSource,
  type StoreInspection,
} from '@omni-airgap/bundler';
import { countSigners } from '@omni-airgap/format';
import { CodedError, formatBytes, formatTime, printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import {
  type BundleOrStoreFlags,
  storeToRead,
  withBundleOrStore,
  withCommon,
  withExample,
} from '../flags.ts';
import { count, describeLeft, table, wrap } from '../format.ts';
import { readTrust } from '../keys.ts';
import { report, type Session } from '../session.ts';

interface Flags extends BundleOrStoreFlags {
  readonly sboms?: string;
}

export function addInspect(session: Session): Command {
  const command = withBundleOrStore(new Command('inspect'))
    .option('--sboms <dir>', 'write the SBOMs that images carry (SPDX, CycloneDX) to this folder instead')
    .action(async (flags: Flags) => {
      const store = storeToRead('inspect', flags);
      if (flags.sboms !== undefined) {
        const source =
          store === undefined
            ? { bundle: flags.bundle, trust: await readTrust(flags.verifyKey, true) }
            : { store };
        await writeSboms(session, flags, source, flags.sboms);
        return;
      }
      if (store !== undefined) {
        await report(session, flags, 'inspect', () => inspectStore(store, session.signal), describeStore);
        return;
      }
      const trust = await readTrust(flags.verifyKey, true);
      await report(session, flags, 'inspect', () => inspectBundle(flags.bundle, trust), describeBundle);
    });
  return withExample(
    withCommon(command),
    'omni-airgap inspect --bundle /mnt/usb',
    'omni-airgap inspect --bundle /mnt/usb --sboms sboms',
  );
}

/** @throws the code of the first SBOM that could not be written; as extractSboms */
async function writeSboms(session: Session, flags: Flags, source: SbomSource, folder: string): Promise<void> {
  const { files, failed } = await report(
    session,
    flags,
    'inspect',
    () => extractSboms(source, folder, session.signal),
    describeSboms,
  );
  const first = failed.find(({ code }) => code !== 'CONFLICT') ?? failed[0];
  if (first === undefined) return;
  const done = `${failed.length} of ${count(files.length + failed.length, 'SBOM')} not written`;
  throw new CodedError(first.code, `${done}: ${first.problem}`);
}

function describeSboms({ folder, files, failed, elsewhere }: SbomReport): string {
  const rows = files.map(({ image, platform = '', format, file, size }) => [
    printable(image),
    platform,
    format,
    formatBytes(size),
    file,
  ]);
  const lines =
    files.length === 0 ? [] : [table([['IMAGE', 'PLATFORM', 'FORMAT', 'SIZE', 'FILE'], ...rows], [3]), ''];
  lines.push(...failed.map(({ problem }) => `Not written: ${problem}`));
  if (elsewhere.length > 0)
    lines.push(
      `${count(elsewhere.length, 'attachment')} that can hold an SBOM: only in an earlier bundle; run inspect --sboms on its media`,
    );
  const present = files.filter(({ state }) => state === 'present').length;
  if (files.length > 0) {
    const again = present === 0 ? '' : ` (${present} already present)`;
    lines.push(
      `${count(files.length, 'SBOM')} in ${folder}${again}; signatures of attestations are not checked.`,
    );
  } else if (failed.length === 0) lines.push('No image carries an SBOM here; nothing was written.');
  return lines.join('\n');
}

function describeBundle(inspection: Inspection): string {
  const { document, items, bytes, relied, absent, versions } = inspection;
  const { id, origin, sequence, createdAt, createdBy, tool, base, changes, secrets, egress, volumes } =
    document;
  const lines = [
    `Bundle ${id}`,
    `Number ${sequence} of store ${origin}`,
    `Made ${formatTime(createdAt)}${createdBy === undefined ? '' : ` by ${printable(createdBy)}`} with ${printable(tool)}`,
    ...versions.map((one) => `${one.product} ${one.versions.join(', ')}`),
    `${formatBytes(bytes)} in ${count(volumes.length, 'volume')}, ${count(document.blobs.length, 'blob')}, ${count(items.length, 'name')}.`,
    signatureOf(inspection),
  ];
  for (const one of base ?? []) lines.push(`Relies on bundle ${one.id} (number ${one.sequence}).`);
  if (base !== undefined)
    lines.push(`${count(relied.blobs, 'blob')} (${formatBytes(relied.bytes)}) came with them.`);
  if (changes !== undefined) {
    const folded = foldedChanges(changes, items);
    for (const name of folded.added) lines.push(`Added: ${printable(name)}`);
    for (const { name } of folded.moved) lines.push(`Other content: ${printable(name)}`);
    for (const name of folded.removed) lines.push(`No longer carried: ${printable(name)}`);
    for (const name of folded.attached) lines.push(`Other signatures or attestations: ${printable(name)}`);
    if (changesText(folded) === undefined) lines.push('Nothing has changed.');
  }
  for (const name of document.withdraws ?? []) lines.push(`Withdrawn: ${printable(name)}`);
  const rows = items.map((item) => [
    printable(item.name),
    item.kind,
    item.inBase ? 'with base' : formatBytes(item.bytes),
    item.files.length > 0 ? count(item.files.length, 'file') : shortPlatforms(item.platforms),
    item.signature ?? '',
  ]);
  lines.push('', table([['NAME', 'KIND', 'SIZE', 'HOLDS', 'SIGNATURE'], ...rows], [2]), '');
  for (const { signer, images } of countSigners(items.map((item) => item.verified)))
    lines.push(`Signature verified when fetched: ${count(images, 'image')} by ${printable(signer, 1000)}`);
  lines.push(...describeAttachments(items));
  for (const { name, files } of items.filter((item) => item.kind === 'media' && item.files.length > 0)) {
    lines.push(`${printable(name)}:`);
    for (const file of files) lines.push(`  ${printable(file.name)}  ${formatBytes(file.size)}`);
  }
  const hosts = egress.map(({ host, requests }) => `${printable(host)} (${requests})`);
  lines.push('Hosts contacted (requests):', wrap(hosts.length === 0 ? ['none on record'] : hosts));
  if (secrets !== undefined) {
    lines.push(
      `Secrets: ${count(secrets.schematics, 'schematic')} looked at, ${secrets.found.length} with secrets (${secrets.policy}).`,
    );
  }
  lines.push(
    ...volumes.map(
      ({ name, size, sha256 }) =>
        `${sha256}  ${name}  ${formatBytes(size)}${absent.includes(name) ? '  (not here)' : ''}`,
    ),
  );
  return lines.join('\n');
}

function signatureOf({ signer, isSigned }: Inspection): string {
  if (signer.mode === 'signed') return `Signed by ${signer.key}.`;
  return isSigned
    ? 'Signature not checked (--verify-key PUB checks it).'
    : 'Not signed: there is no bundle.json.sig.';
}

/** Items that carry more than signatures, of which the table tells already. */
function describeAttachments(
  items: readonly { readonly name: string; readonly attachments: readonly Attachment[] }[],
): readonly string[] {
  const lines = items.flatMap(({ name, attachments }) =>
    attachments.some(({ kind }) => kind !== 'signature')
      ? [`  ${printable(name)}: ${printable(attachmentsText(attachments), 1000)}`]
      : [],
  );
  return lines.length === 0 ? [] : ['Carried with images:', ...lines];
}

const mostPlatforms = 3;

/** `amd64, arm64`: nearly everything is for linux. */
function shortPlatforms(platforms: readonly string[]): string {
  const shown = platforms.slice(0, mostPlatforms).map((text) => printable(text.replace(/^linux\//, ''), 20));
  const more = platforms.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` +${more}` : ''}`;
}

function describeStore({ items, blobs, bytes, left, bundles, withdraws }: StoreInspection): string {
  const rows = items.map((item) => [
    printable(item.name),
    item.kind,
    formatBytes(item.bytes),
    item.fetchedAt ?? 'pushed',
    item.verified !== undefined
      ? 'verified'
      : item.attachments.some(({ kind }) => kind === 'signature')
        ? 'carried'
        : item.kind === 'image'
          ? 'none'
          : '',
  ]);
  return [
    table([['NAME', 'KIND', 'SIZE', 'FETCHED', 'SIGNATURE'], ...rows], [2]),
    '',
    ...describeAttachments(items),
    `${count(items.length, 'name')}, ${count(blobs, 'blob')}, ${formatBytes(bytes)} (shared content once).`,
    ...describeLeft(left),
    ...bundles.map(({ id, sequence, createdAt }) => `Issued: number ${sequence}, ${createdAt}, ${id}`),
    ...withdraws.map((name) => `Withdrawn: ${printable(name)}`),
  ].join('\n');
}
