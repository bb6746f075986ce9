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
  type SqlClient,
  type Store,
} from '@parapet/kit'
import { PARAPET_SESSIONS_INVALID_OPTION } from './errors.ts'
import type { KeyInput, KeySet } from './keys.ts'
import { allowInsecureProvider, type OidcProviderOptions, type ProviderProfile } from './oidc.ts'
import type { CredentialCheck } from './passwords.ts'
import type { FindUser } from './session-book.ts'
import type { SessionUser } from './user.ts'

/**
 * Takes RSA keys of 2048 bits. What is lost: they have 112 bits of security where 128 are asked of
 * what is signed today (NIST SP 800-57, OWASP ASVS 11.2.3).
 */
export const allowRsa2048: unique symbol = Symbol('allowRsa2048')

/** How cookies are set, and whom they are believed from. */
export interface CookieOptions {
  /** `lax` also sends them when another site links here. @default 'strict' */
  readonly sameSite?: 'strict' | 'lax'
  /** Other origins whose pages may use the session, for instance `https://app.example.com`. @default [] */
  readonly trustedOrigins?: readonly string[]
}

/** What `app.register` takes. */
export interface SessionsOptions {
  /** `iss` of every access token: the URL of this service. */
  readonly issuer: string
  /** `aud` of every access token: whom they are meant for. */
  readonly audience: string
  readonly keys: KeySet
  /** Base64url of 32 random bytes or more each; the first makes refresh tokens, all are believed. */
  readonly secrets: readonly string[]
  /** What the fleet shares. @default the memory of this process */
  readonly store?: Store
  /** Where API keys are kept, in a table made at boot: `createSqlClient` of kit. @default the store */
  readonly sql?: SqlClient
  /** Looks a user up at each refresh; `null` ends the session. @default the user as of the login */
  readonly findUser?: FindUser
  /** How long an access token lives: 1000 to 3 600 000 ms. @default 900_000 */
  readonly accessLifetimeMs?: number
  /** How long a session lives without a refresh, in milliseconds. @default 604_800_000 */
  readonly refreshIdleMs?: number
  /** How long a session lives at most, in milliseconds. @default 2_592_000_000 */
  readonly refreshAbsoluteMs?: number
  /** How long the token before the newest one still gets the newest: 0 to 60 000 ms. @default 10_000 */
  readonly refreshGraceMs?: number
  /** Beyond it the session that was used least recently ends: 1 to 1000. @default 50 */
  readonly maxSessionsPerUser?: number
  /** Whether a route without a rule of its own needs a login. @default true */
  readonly requireByDefault?: boolean
  /** Where the routes are, for instance `/auth`. @default no routes */
  readonly prefix?: string
  /** Who may log in with a password. @default no login route */
  readonly credentials?: CredentialCheck
  /** OpenID providers by name. @default none */
  readonly oidc?: Readonly<Record<string, OidcProviderOptions>>
  /** Tokens travel in cookies too. @default undefined: only in the Authorization header */
  readonly cookies?: CookieOptions
  /** In front of every API key: 2 to 16 small letters and digits. @default 'pak' */
  readonly apiKeyPrefix?: string
  /** @default the machine's clock */
  readonly clock?: Clock
  readonly [allowRsa2048]?: true
}

const DAY_MS = 86_400_000

const keyInput = optionGroup({
  pem: option.text({ max: 16_384 }),
  passphrase: option.optional(option.text()),
}) satisfies OptionReader<KeyInput>

const provider = optionGroup({
  issuer: option.custom<string>(checkUrl),
  clientId: option.text(),
  clientSecret: option.text(),
  redirectUri: option.custom<string>(checkUrl),
  scopes: option.optional(
    option.list(option.text({ pattern: /^[\w.:/-]+$/ }), { min: 1, max: 50 }),
  ),
  roleClaim: option.optional(option.text()),
  roleMap: option.map(option.list(option.text()), { default: {} }),
  findUser: option.optional(
    option.callback<(profile: ProviderProfile) => Promise<SessionUser | null>>(),
  ),
  [allowInsecureProvider]: option.danger(),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  issuer: option.text(),
  audience: option.text(),
  keys: optionGroup({
    current: keyInput,
    next: option.optional(keyInput),
    retired: option.list(keyInput, { max: 16, default: [] }),
  }),
  secrets: option.list(option.text({ pattern: /^[\w-]{43,}$/ }), { min: 1, max: 8 }),
  store: option.optional(
    option.port<Store>(['get', 'compareAndSet', 'addMember', 'publish', 'subscribe']),
  ),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  findUser: option.optional(option.callback<FindUser>()),
  accessLifetimeMs: option.milliseconds({ min: 1000, max: 3_600_000, default: 900_000 }),
  refreshIdleMs: option.milliseconds({ min: 1000, max: 365 * DAY_MS, default: 7 * DAY_MS }),
  refreshAbsoluteMs: option.milliseconds({ min: 1000, max: 365 * DAY_MS, default: 30 * DAY_MS }),
  refreshGraceMs: option.milliseconds({ min: 0, max: 60_000, default: 10_000 }),
  maxSessionsPerUser: option.integer({ min: 1, max: 1000, default: 50 }),
  requireByDefault: option.boolean({ default: true }),
  prefix: option.optional(option.text({ pattern: /^(\/[\w-]+)+$/ })),
  credentials: option.optional(option.callback<CredentialCheck>()),
  oidc: option.map(provider, { default: {} }),
  cookies: option.optional(
    optionGroup({
      sameSite: option.oneOf(['strict', 'lax'], { default: 'strict' }),
      trustedOrigins: option.list(option.custom<string>(checkOrigin), { default: [] }),
    }),
  ),
  apiKeyPrefix: option.text({ pattern: /^[a-z][a-z0-9]{1,15}$/, default: 'pak' }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  [allowRsa2048]: option.danger(),
} satisfies Record<keyof SessionsOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type SessionsSettings = Omit<OptionSettings<typeof optionTable>, 'store'> & {
  readonly store: Store
  /** Whether the store was made here, and is closed with the app. */
  readonly ownsStore: boolean
}

/** Reads the options, once, at boot. @throws PARAPET_SESSIONS_INVALID_OPTION */
export function resolveOptions(options: unknown): SessionsSettings {
  const refusal = PARAPET_SESSIONS_INVALID_OPTION
  const settings = readOptions('@parapet/sessions', options, optionTable, refusal)
  const faults: string[] = []
  const { refreshIdleMs, refreshAbsoluteMs, prefix, credentials, oidc, clock } = settings
  if (refreshIdleMs > refreshAbsoluteMs) {
    faults.push('  refreshIdleMs: must not be longer than refreshAbsoluteMs')
  }
  if (prefix === undefined && (credentials !== undefined || Object.keys(oidc).length > 0)) {
    faults.push('  prefix: must say where the login routes are')
  }
  for (const name of Object.keys(oidc)) {
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(name))
      faults.push(`  oidc: "${name}" is no name for a route`)
  }
  if (faults.length > 0) throw new refusal('@parapet/sessions', faults.join('\n'))
  const { store } = settings
  return Object.freeze({
    ...settings,
    store: store ?? createMemoryStore({ clock }),
    ownsStore: store === undefined,
  })
}

function checkUrl(value: unknown): string | undefined {
  const known = typeof value === 'string' && URL.canParse(value)
  return known && /^https?:$/.test(new URL(value).protocol) ? undefined : 'must be an http(s) URL'
}

function checkOrigin(value: unknown): string | undefined {
  const known = typeof value === 'string' && URL.canParse(value) && new URL(value).origin === value
  return known ? undefined : 'must be an origin such as "https://app.example.com"'
}
