/** The options, their defaults and their reader. */
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
import type { KeyStore } from './key-store.ts'
import type { KeyProvider } from './provider.ts'

/** How long keys are kept at hand. */
export interface CacheOptions {
  /** Age after which keys are fetched anew, in milliseconds, 1000 to 86 400 000. @default 300 000 */
  readonly maxAgeMs?: number
  /** How much longer they serve while they cannot be fetched, in milliseconds, 0 to 86 400 000. @default 300 000 */
  readonly maxStaleMs?: number
  /** Calls after which keys are fetched anew, 1 to 4 294 967 295. @default 10 000 000 */
  readonly maxUses?: number
  /** Tenants, and subjects, whose keys are at hand, 1 to 1 000 000. @default 10 000 */
  readonly maxEntries?: number
}

/** What `app.register` takes: either `keyset`, or `provider` and `keyStore`. */
export interface FieldEncryptionOptions {
  /** One keyset for everybody, in Tink's JSON. @default none */
  readonly keyset?: string
  /** Wraps the keys of each tenant. @default none */
  readonly provider?: KeyProvider
  /** Keeps the wrapped keys of tenants and subjects. @default none */
  readonly keyStore?: KeyStore
  /** Tells every instance of what was rotated and forgotten. @default the memory of this process */
  readonly store?: Store
  /** Private key of Ed25519 in PEM, for erasure receipts. @default none: `forget` refuses */
  readonly receiptKey?: string
  readonly cache?: CacheOptions
  /** How long one call of the provider or the key table may take, in milliseconds, 10 to 60 000. @default 5000 */
  readonly deadlineMs?: number
  /** The share of decryptions that emit `field_encryption.decrypted`, 0 to 1. @default 1 */
  readonly decryptedEventRatio?: number
  /** Who is asking, in an app whose login does not set `request.principal`. @default nobody */
  readonly principal?: PrincipalMapping
  /** @default the machine's clock */
  readonly clock?: Clock
}

const DAY_MS = 86_400_000

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  keyset: option.optional(option.text({ max: 1_000_000 })),
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

/** The options with every default filled in. */
export type FieldEncryptionSettings = OptionSettings<typeof optionTable> & {
  readonly store: Store
  /** Whether the plugin made the store, and must close it. */
  readonly ownsStore: boolean
}

/** Reads the options, once, at boot. @throws PARAPET_FIELD_ENCRYPTION_INVALID_OPTION */
export function resolveOptions(options: unknown): FieldEncryptionSettings {
  const name = '@parapet/field-encryption'
  const settings = readOptions(name, options, optionTable, PARAPET_FIELD_ENCRYPTION_INVALID_OPTION)
  const { keyset, provider, keyStore, store } = settings
  const fault =
    (keyset === undefined) === (provider === undefined)
      ? 'keyset: must be given, or provider with keyStore; and not both'
      : (provider === undefined) !== (keyStore === undefined)
        ? 'keyStore: goes with provider; createPostgresKeyStore(sql) makes one'
        : undefined
  if (fault !== undefined) throw new PARAPET_FIELD_ENCRYPTION_INVALID_OPTION(name, `  ${fault}`)
  const ownsStore = store === undefined
  return { ...settings, store: store ?? createMemoryStore(), ownsStore }
}
