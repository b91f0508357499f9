/**
 * Schematic: what the Image Factory is asked to build. Optional members are those that the factory leaves out
 * when they are empty. Source: siderolabs/image-factory 78e378a48 pkg/schematic/schematic.go.
 */
import type { YamlMap } from '../yaml/go/value.ts';

export interface Overlay {
  readonly image: string;
  readonly name: string;
  readonly options?: YamlMap;
}

export interface MetaValue {
  /** 0 to 255. */
  readonly key: number;
  readonly value: string;
}

/** Source: siderolabs/talos pkg/machinery/imager/imageropts; `none` is the same as no value. */
export const bootloaders = ['dual-boot', 'sd-boot', 'grub'] as const;
export type Bootloader = (typeof bootloaders)[number];

export interface Customization {
  readonly embeddedMachineConfiguration?: string;
  readonly extraKernelArgs?: readonly string[];
  readonly meta?: readonly MetaValue[];
  readonly systemExtensions?: { readonly officialExtensions?: readonly string[] };
  readonly bootloader?: Bootloader;
  readonly secureboot?: {
    readonly enrollKeys?: string;
    readonly includeWellKnownCertificates?: boolean;
  };
  /** Bytes; up to 64 bits, hence a bigint. */
  readonly diskImage?: { readonly sectorSize?: bigint };
}

export interface Schematic {
  /** Enterprise edition only. */
  readonly owner?: string;
  readonly overlay?: Overlay;
  readonly customization: Customization;
}
