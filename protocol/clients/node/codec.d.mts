/** Keys by the id that envelopes name: 32 bytes each, or their base64. */
export type CodecKeys = Record<string, Uint8Array | string>

export interface CodecOptions {
  /** Without any, payloads are compressed only. */
  keys?: CodecKeys
  /** The id of the key that payloads are sealed with; needed where there is more than one. */
  write?: string
  /** `auto`, the default, is zstd where this Node has it and else deflate; null: off. What does not shrink stays. */
  compression?: 'auto' | 'zstd' | 'deflate' | null
  /** Whether payloads that no key protects are read; true. Refuse them once everything was rotated. */
  acceptPlain?: boolean
}

/** What a payload is bound to: the name of its place, and what says which one. */
export type CodecPlace = ReadonlyArray<string | number | null>

/** Seals payloads on their way to the program, and opens them on their way back: the option `codec` of a store. */
export declare class Codec {
  constructor(options?: CodecOptions)
  /** The ids of the keys that it can read with. */
  readonly keyIDs: string[]
  /** The id of the key that it seals with; null: it compresses only. */
  readonly write: string | null
  /** The envelope of a payload, or the payload itself where it stays as it is. */
  seal(value: unknown, place: CodecPlace): unknown
  /** The payload of what was stored at the place. Throws CodecError. */
  open(stored: unknown, place: CodecPlace): unknown
  /** Reads what `exportUserData` hands out, and the lines of a dump, in their order. */
  records(): RecordReader
}

/** Opens records one after the other: sessions and tasks stand before what belongs to them. */
export declare class RecordReader {
  constructor(codec: Codec)
  /** The record with its payloads opened. Throws CodecError; the next one can be read. */
  open(record: Record<string, unknown>): Record<string, unknown>
}
