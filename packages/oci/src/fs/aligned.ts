/**
 * Blocks of memory that begin on a page boundary, as direct input and output (O_DIRECT) needs them: a WebAssembly
 * memory does, Node's own buffers do not. Used again and again, since such memory is given back late. The thread that hashes
 * sees them, too.
 */

/** Bytes. Large, since the kernel neither reads ahead nor gathers writes here. */
export const alignedBlockSize: number = 4 * 1024 * 1024;
const wasmPage = 64 * 1024;

/** The types of Node.js leave the name out. */
const { WebAssembly: wasm } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (size: {
      readonly initial: number;
      readonly maximum: number;
      readonly shared: true;
    }) => { readonly buffer: SharedArrayBuffer };
  };
};

const free: Buffer[] = [];

/** A block to write or read directly; give it back with giveAligned. */
export function takeAligned(): Buffer {
  const pages = alignedBlockSize / wasmPage;
  return free.pop() ?? Buffer.from(new wasm.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

/** Gives a block back. The caller must hold no view of it any more. */
export function giveAligned(block: Buffer): void {
  free.push(block);
}
