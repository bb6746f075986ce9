/** The port to the service or device that holds the root key. */
import { encodeContext, secretsEqual, takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from '../errors.ts'

/** The purpose in the context of every wrapped key. */
export const KEY_PURPOSE = 'parapet-field-encryption'
/** The length of a data key. */
export const DATA_KEY_BYTES = 32

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
  /**
   * Resolves if the provider can wrap and unwrap now; rejects otherwise. It needs no permission that
   * encryption does not need.
   */
  health(): Promise<void>
}

/** Encodes a context as associated data: its entries sorted by name, each part with its length. */
export function encodeKeyContext(context: KeyContext): Buffer {
  const entries = Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return encodeContext(['fe-key1', ...entries.flat()])
}

/** Has the context of a tenant's keys, which a policy of the provider may require. */
const PROBE_CONTEXT: KeyContext = { purpose: KEY_PURPOSE, tenant: '' }

/**
 * Creates a data key and unwraps it, as encryption does.
 *
 * @throws what the provider throws, or PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE
 */
export async function probe(
  provider: Pick<KeyProvider, 'wrap' | 'unwrap' | 'generate'>,
): Promise<void> {
  const { dataKey, wrapped } = await createDataKey(provider, PROBE_CONTEXT)
  const unwrapped = await provider.unwrap(wrapped, PROBE_CONTEXT)
  if (!secretsEqual(Buffer.from(dataKey), Buffer.from(unwrapped))) {
    throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  }
}

/** Creates a data key, by the provider's own call if it has one. */
export async function createDataKey(
  provider: Pick<KeyProvider, 'wrap' | 'generate'>,
  context: KeyContext,
) {
  if (provider.generate !== undefined) return provider.generate(context)
  const dataKey = takeRandom(DATA_KEY_BYTES)
  return { dataKey, wrapped: await provider.wrap(dataKey, context) }
}
