/** The options, their defaults and their validation. */
import {
  createMemoryStore,
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
  type Store,
} from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_OPTION } from './errors.ts'
import type { KeyStore } from './keys/key-store.ts'
import type { KeyProvider } from './providers/provider.ts'

/** How long keys are cached. */
export interface CacheOptions {
  /** Age at which keys are reloaded, in milliseconds, 1000 to 86 400 000. @default 300 000 */
  readonly maxAgeMs?: number
  /**
   * How much longer keys are used while they cannot be reloaded, in milliseconds, 0 to 86 400 000.
   * @default 300 000
   */
  readonly maxStaleMs?: number
  /** Calls after which keys are reloaded, 1 to 4 294 967 295. @default 10 000 000 */
  readonly maxUses?: number
  /** Tenants, and subjects, whose keys are cached, 1 to 1 000 000. @default 10 000 */
  readonly maxEntries?: number
}

/** The options of the plugin: either `keyset`, or `provider` and `keyStore`. */
export interface FieldEncryptionOptions {
  /**
   * One keyset for all tenants, in Tink's JSON. A function is asked at each use, so that a keyset from a
   * secrets manager can be replaced: return the same text until then. @default none
   */
  readonly keyset?: string | (() => string)
  /** Wraps the keys of each tenant. @default none */
  readonly provider?: KeyProvider
  /** Stores the wrapped keys of tenants and subjects. @default none */
  readonly keyStore?: KeyStore
  /** Announces rotated and destroyed keys to every instance. @default the memory of this process */
  readonly store?: Store
  /** Ed25519 private key in PEM, which signs erasure receipts. @default none: `forget` refuses */
  readonly receiptKey?: string
  readonly cache?: CacheOptions
  /**
   * How long one call of the provider or the key store may take, in milliseconds, 10 to 60 000.
   * @default 5000
   */
  readonly deadlineMs?: number
  /** The share of decryptions that emit `field_encryption.decrypted`, 0 to 1. @default 1 */
  readonly decryptedEventRatio?: number
  /** Returns the principal of a request, in an app whose login does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** @default the system clock */
  readonly clock?: Clock
}

const NAME = '@parapet/field-encryption'
const DAY_MS = 86_400_000

/** One reader for each option. */
export const optionTable = {
  keyset: option.optional(option.custom<string | (() => string)>(checkKeyset)),
  provider: option.optional(option.port<KeyProvider>(['wrap', 'unwrap', 'describe', 'health'])),
  keyStore: option.optional(
    option.port<KeyStore>(['get', 'insert', 'update', 'notWrappedBy', 'countWrappedBy', 'addUses']),
  ),
  store: option.optional(option.port<Store>(['publish', 'subscribe'])),
  receiptKey: option.optional(option.text({ max: 10_000 })),
  cache: optionGroup({
    maxAgeMs: option.milliseconds({ min: 1000, max: DAY_MS, default: 300_000 }),
    maxStaleMs: option.milliseconds({ min: 0, max: DAY_MS, default: 300_000 }),
    maxUses: option.integer({ min: 1, max: 4_294_967_295, default: 10_000_000 }),
    maxEntries: option.integer({ min: 1, max: 1_000_000, default: 10_000 }),
  }),
  deadlineMs: option.milliseconds({ min: 10, max: 60_000, default: 5000 }),
  decryptedEventRatio: option.ratio({ default: 1 }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof FieldEncryptionOptions, OptionReader<unknown>>

function checkKeyset(value: unknown): string | undefined {
  if (typeof value === 'function') return undefined
  const isText = typeof value === 'string' && value.length > 0 && value.length <= 1_000_000
  return isText ? undefined : "must be a keyset in Tink's JSON, or a function that returns one"
}

/** The validated options with all defaults. */
export type FieldEncryptionSettings = OptionSettings<typeof optionTable> & {
  readonly store: Store
  /** Whether the plugin created the store and must close it. */
  readonly ownsStore: boolean
}

/** Validates the options at boot. @throws PARAPET_FIELD_ENCRYPTION_INVALID_OPTION */
export function resolveOptions(options: unknown): FieldEncryptionSettings {
  const settings = readOptions(NAME, options, optionTable, PARAPET_FIELD_ENCRYPTION_INVALID_OPTION)
  checkKeySource(settings)
  const ownsStore = settings.store === undefined
  return { ...settings, store: settings.store ?? createMemoryStore(), ownsStore }
}

function checkKeySource({ keyset, provider, keyStore }: OptionSettings<typeof optionTable>): void {
  const options = { keyset, provider, keyStore }
  const given = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`"${name}"`],
  )
  const isFixed = keyset !== undefined && provider === undefined && keyStore === undefined
  const isManaged = keyset === undefined && provider !== undefined && keyStore !== undefined
  if (isFixed || isManaged) return
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_OPTION(
    NAME,
    `  either "keyset", or "provider" and "keyStore" must be given, got ${given.join(' and ') || 'none of them'}`,
  )
}
