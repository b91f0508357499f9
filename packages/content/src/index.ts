/** OCI content: the model, the copy engine, the stores, the HTTP gate, the bundle format. */
export * from './bytes.ts';
export * from './descriptor.ts';
export * from './digest.ts';
export * from './errors.ts';
export * from './json.ts';
export { Layout } from './layout/layout.ts';
export * from './manifest.ts';
export * from './media-type.ts';
export * from './memory.ts';
export * from './printable.ts';
export * from './reference.ts';
export * from './storage.ts';
