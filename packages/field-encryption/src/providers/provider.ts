/** The port to the service or device that holds the root key. */
import { encodeContext } from '@parapet/kit'

/** What a wrapped key is bound to. A provider refuses to unwrap it with any other context. */
export type KeyContext = Readonly<Record<string, string>>

/** Describes a provider, for instance for an admin page. */
export interface KeyProviderDescription {
  /** For instance `vault:transit/orders`; never a secret. */
  readonly id: string
  /** Whether the root key can be read out: `true` for a file, `false` for a KMS or an HSM. */
  readonly exportable: boolean
}

/** Wraps and unwraps data keys under a root key, which never leaves the provider. */
export interface KeyProvider {
  wrap(dataKey: Uint8Array, context: KeyContext): Promise<Uint8Array>
  unwrap(wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array>
  /**
   * Creates a data key of 32 bytes, if the provider has a call for that.
   * @default random bytes, wrapped with `wrap`
   */
  generate?(
    context: KeyContext,
  ): Promise<{ readonly dataKey: Uint8Array; readonly wrapped: Uint8Array }>
  describe(): KeyProviderDescription
  /** Resolves if the provider can answer now; rejects otherwise. */
  health(): Promise<void>
}

/** Encodes a context as associated data: its entries sorted by name, each part with its length. */
export function encodeKeyContext(context: KeyContext): Buffer {
  const entries = Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return encodeContext(['fe-key1', ...entries.flat()])
}
