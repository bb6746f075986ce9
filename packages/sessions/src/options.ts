/**
 * The options, their defaults and their reader. The file is long because each option is documented where it
 * is declared.
 */
import {
  createMemoryStore,
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type Jobs,
  type OptionReader,
  type OptionSettings,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import { PARAPET_SESSIONS_INVALID_OPTION } from './errors.ts'
import type { KeyInput, KeySet } from './keys/read-key.ts'
import { allowRsa2048 } from './keys/strong-key.ts'
import { isLocalPath } from './oidc/local-path.ts'
import { createProviderReader, type OidcProviderOptions } from './oidc/provider.ts'
import type { IdentityLinks } from './identities/identity-links.ts'
import type { CredentialCheck } from './passwords/password-check.ts'
import type { HashLimits } from './passwords/hash-queue.ts'
import type { SecondFactor } from './second-factor/second-factor.ts'
import type { AccountDirectory, AccountMessages, AccountPages } from './accounts/account.ts'
import type { PasswordPolicy } from './password-policy/password-policy.ts'
import type { MayImpersonate, PlaceOf } from './users/ports.ts'
import type { FindUser } from './session/context.ts'
import { describeValue } from './users/describe-value.ts'

/** The option `cookies` with its defaults filled in. */
export interface CookieSettings {
  readonly sameSite: 'strict' | 'lax'
  readonly trustedOrigins: readonly string[]
}

/** How cookies are set, and which requests may use them. */
export interface CookieOptions {
  /**
   * With `lax`, browsers also send the cookies when a link of another site is followed. With `strict`, a
   * login at an identity provider ends with a page of this site that forwards to `returnTo`.
   *
   * @default 'strict', or 'lax' with `oidc`
   */
  readonly sameSite?: 'strict' | 'lax'
  /** Other origins whose pages may use the session, such as `https://app.example.com`. @default [] */
  readonly trustedOrigins?: readonly string[]
}

/**
 * A directive of `Clear-Site-Data`. `cookies` deletes the cookies of all hosts of the domain, also those
 * of other applications; `storage` and `cache` delete what every application on this host stored.
 *
 * @see W3C Clear Site Data, section 3.1
 */
export type SiteData = 'cache' | 'cookies' | 'storage'

/** Lets users reset passwords and verify addresses, and tells them what happens to their accounts. */
export interface AccountOptions {
  /** The user table of the application. */
  readonly directory: AccountDirectory
  /** Sends messages, for instance by SMTP. */
  readonly messages: AccountMessages
  /** The pages that links open. */
  readonly pages: AccountPages
  /** Runs the job `sessions.mail`; the application starts it. @default jobs in the memory of this process */
  readonly jobs?: Jobs
  /** Which new passwords are accepted. @default `createPasswordPolicy()` */
  readonly policy?: PasswordPolicy
}

/** Whom operators may impersonate. */
export interface ImpersonationOptions {
  /** @default the user has no role, permission or tenant that the operator lacks */
  readonly allows?: MayImpersonate
}

/** Which identities at providers log in as which user. */
export interface LinkingOptions {
  /** The table of the application. @default a table with `sql`, otherwise the store */
  readonly links?: IdentityLinks
  /**
   * Whether the user can log in without any link: then the last one may be removed.
   * @default whether the account of the option `account` has a password
   */
  readonly hasOtherLogin?: (userId: string) => Promise<boolean>
  /** How many identities a user may link: 1 to 100. @default 10 */
  readonly maxLinksPerUser?: number
}

/** The options of the plugin. */
export interface SessionsOptions {
  /** `iss` of every access token: the URL of this service. */
  readonly issuer: string
  /** `aud` of every access token: the service that accepts them. */
  readonly audience: string
  /** The signing keys. */
  readonly keys: KeySet
  /** Base64url of at least 32 random bytes each. The first derives refresh tokens; all are accepted. */
  readonly secrets: readonly string[]
  /**
   * After an update from a version that wrote records without a seal: until when they are accepted, in
   * milliseconds since the Unix epoch, at most a year ahead. A use seals them. @default 0, never
   */
  readonly acceptUnsealedUntil?: number
  /** The state that all instances share. @default the memory of this process: lost on restart */
  readonly store?: Store
  /** Stores API keys in a table, which is created at boot. @default the store */
  readonly sql?: SqlClient
  /** Looks up the user at each refresh; `null` ends the session. @default the user as of the login */
  readonly findUser?: FindUser
  /** The lifetime of an access token: 1000 to 3 600 000 ms. @default 900_000, 15 minutes */
  readonly accessLifetimeMs?: number
  /** How long a session lives without a refresh, in milliseconds. @default 604_800_000, 7 days */
  readonly refreshIdleMs?: number
  /** How long a session lives at most, in milliseconds. @default 2_592_000_000, 30 days */
  readonly refreshAbsoluteMs?: number
  /**
   * How long the previous refresh token still gets the same successor after the new access token has been
   * used: 0 to 60 000 ms. Until it is used, there is no limit. @default 10_000
   */
  readonly refreshGraceMs?: number
  /** Beyond this number the least recently used session ends: 1 to 1000. @default 50 */
  readonly maxSessionsPerUser?: number
  /**
   * The memory for access tokens whose signature is verified, in bytes: 0 to 1 073 741 824. One entry
   * takes 2 KB or less. 0: every request verifies the signature. @default 33_554_432, 32 MiB
   */
  readonly tokenCacheBytes?: number
  /** Whether a route without `config.sessions` needs a login. @default true */
  readonly requireByDefault?: boolean
  /** The path in front of the routes, such as `/auth`. @default no routes */
  readonly prefix?: string
  /** Checks a login with a password. @default no login route */
  readonly credentials?: CredentialCheck
  /** The second step of a login, such as `app.mfa.secondFactor`. @default the first step is enough */
  readonly secondFactor?: SecondFactor
  /** Password reset, verification of addresses, notices and their routes. @default none of them */
  readonly account?: AccountOptions
  /** Says approximately where an address is, for the list of sessions. @default nothing */
  readonly placeOf?: PlaceOf
  /** Whom operators may impersonate. */
  readonly impersonation?: ImpersonationOptions
  /** What a logout makes the browser delete beside the own cookies. @default [] */
  readonly clearSiteData?: readonly SiteData[]
  /** What happens to bearer tokens that are not of this service. @default 'refused' */
  readonly foreignTokens?: 'refused' | 'ignored'
  /** How many passwords are hashed at once in this process. */
  readonly hashing?: HashLimits
  /** OpenID providers by name. @default none */
  readonly oidc?: Readonly<Record<string, OidcProviderOptions>>
  /** Lets users link identities at the providers to their accounts. Needs `findUser`. @default no links */
  readonly linking?: LinkingOptions
  /** Sends tokens in cookies, and accepts them there. @default only the Authorization header */
  readonly cookies?: CookieOptions
  /** The text in front of every API key: 2 to 16 lower-case letters and digits. @default 'pak' */
  readonly apiKeyPrefix?: string
  /** @default the system clock */
  readonly clock?: Clock
  readonly [allowRsa2048]?: true
}

const DAY_MS = 86_400_000

const keyInput = optionGroup({
  pem: option.text({ max: 16_384 }),
  passphrase: option.optional(option.text()),
}) satisfies OptionReader<KeyInput>

const provider = createProviderReader(checkUrl)

const account = optionGroup({
  directory: option.port<AccountDirectory>([
    'findById',
    'findByEmail',
    'savePassword',
    'verifyEmail',
    'saveEmail',
  ]),
  messages: option.port<AccountMessages>([
    'sendPasswordReset',
    'sendEmailVerification',
    'sendNotice',
  ]),
  pages: optionGroup({
    resetPassword: option.custom<string>(checkPage),
    verifyEmail: option.custom<string>(checkPage),
    undoEmailChange: option.custom<string>(checkPage),
    magicLink: option.optional(option.custom<string>(checkPage)),
  }),
  jobs: option.optional(option.port<Jobs>(['define', 'enqueue', 'cancel'])),
  policy: option.optional(option.port<PasswordPolicy>(['check'])),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  issuer: option.custom<string>(checkUrl),
  audience: option.text(),
  keys: optionGroup({
    current: keyInput,
    next: option.optional(keyInput),
    retired: option.list(keyInput, { max: 16, default: [] }),
  }),
  secrets: option.list(
    option.text({ pattern: /^[\w-]{43,}$/, form: 'base64url of at least 32 random bytes' }),
    { min: 1, max: 8 },
  ),
  acceptUnsealedUntil: option.integer({ min: 0, max: Number.MAX_SAFE_INTEGER, default: 0 }),
  store: option.optional(
    option.port<Store>(['get', 'compareAndSet', 'addMember', 'subscribe', 'onStateChange']),
  ),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  findUser: option.optional(option.callback<FindUser>()),
  accessLifetimeMs: option.milliseconds({ min: 1000, max: 3_600_000, default: 900_000 }),
  refreshIdleMs: option.milliseconds({ min: 1000, max: 365 * DAY_MS, default: 7 * DAY_MS }),
  refreshAbsoluteMs: option.milliseconds({ min: 1000, max: 365 * DAY_MS, default: 30 * DAY_MS }),
  refreshGraceMs: option.milliseconds({ min: 0, max: 60_000, default: 10_000 }),
  maxSessionsPerUser: option.integer({ min: 1, max: 1000, default: 50 }),
  tokenCacheBytes: option.integer({ min: 0, max: 1_073_741_824, default: 33_554_432 }),
  requireByDefault: option.boolean({ default: true }),
  prefix: option.optional(
    option.text({ pattern: /^(\/[\w-]+)+$/, form: 'a path such as "/auth"' }),
  ),
  credentials: option.optional(option.callback<CredentialCheck>()),
  secondFactor: option.optional(option.port<SecondFactor>(['methodsOf', 'verify'])),
  account: option.optional(account),
  placeOf: option.optional(option.callback<PlaceOf>()),
  impersonation: optionGroup({ allows: option.optional(option.callback<MayImpersonate>()) }),
  clearSiteData: option.list(option.oneOf<SiteData>(['cache', 'cookies', 'storage']), {
    default: [],
  }),
  foreignTokens: option.oneOf(['refused', 'ignored'], { default: 'refused' }),
  hashing: optionGroup({
    maxRunning: option.optional(option.integer({ min: 1, max: 64 })),
    maxWaiting: option.integer({ min: 0, max: 10_000, default: 50 }),
  }),
  oidc: option.map(provider, { default: {} }),
  linking: option.optional(
    optionGroup({
      links: option.optional(option.port<IdentityLinks>(['find', 'list', 'add', 'remove'])),
      hasOtherLogin: option.optional(option.callback<(userId: string) => Promise<boolean>>()),
      maxLinksPerUser: option.integer({ min: 1, max: 100, default: 10 }),
    }),
  ),
  cookies: option.optional(
    optionGroup({
      sameSite: option.optional(option.oneOf(['strict', 'lax'])),
      trustedOrigins: option.list(option.custom<string>(checkOrigin), { default: [] }),
    }),
  ),
  apiKeyPrefix: option.text({
    pattern: /^[a-z][a-z0-9]{1,15}$/,
    form: 'a letter and 1 to 15 letters or digits, all lower-case',
    default: 'pak',
  }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  [allowRsa2048]: option.danger(),
} satisfies Record<keyof SessionsOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type SessionsSettings = Omit<OptionSettings<typeof optionTable>, 'store' | 'cookies'> & {
  readonly store: Store
  readonly cookies: CookieSettings | undefined
  /** Whether the plugin created the store, and closes it with the app. */
  readonly ownsStore: boolean
}

/** Reads the options at boot. @throws PARAPET_SESSIONS_INVALID_OPTION */
export function resolveOptions(options: unknown): SessionsSettings {
  const InvalidOption = PARAPET_SESSIONS_INVALID_OPTION
  const settings = readOptions('@parapet/sessions', options, optionTable, InvalidOption)
  const { clock, store, cookies, oidc } = settings
  const faults = findFaults(settings)
  if (faults.length > 0) throw new InvalidOption('@parapet/sessions', faults.join('\n'))
  // A browser that comes back from another site does not send cookies that are `strict`.
  const sameSite = cookies?.sameSite ?? (Object.keys(oidc).length > 0 ? 'lax' : 'strict')
  return Object.freeze({
    ...settings,
    cookies: cookies && Object.freeze({ ...cookies, sameSite }),
    store: store ?? createMemoryStore({ clock }),
    ownsStore: store === undefined,
  })
}

/** What is wrong with options that are valid one by one. */
function findFaults(settings: OptionSettings<typeof optionTable>): string[] {
  const { refreshIdleMs, refreshAbsoluteMs, prefix, credentials, oidc, cookies } = settings
  const { secondFactor } = settings
  const faults: string[] = []
  if (settings.acceptUnsealedUntil > settings.clock.now() + 365 * DAY_MS) {
    faults.push(
      '  "acceptUnsealedUntil" must be a time of the next 365 days (milliseconds since the Unix epoch), ' +
        `got ${settings.acceptUnsealedUntil}`,
    )
  }
  const providers = Object.keys(oidc)
  if (refreshIdleMs > refreshAbsoluteMs) {
    faults.push(
      `  "refreshIdleMs" must be at most "refreshAbsoluteMs" (${refreshAbsoluteMs}), got ${refreshIdleMs}`,
    )
  }
  if (
    settings.account?.messages.sendMagicLink !== undefined &&
    settings.account.pages.magicLink === undefined
  ) {
    faults.push(
      '  "account.pages.magicLink" must be a URL, because "messages.sendMagicLink" is set, got nothing',
    )
  }
  if (prefix === undefined && (credentials !== undefined || providers.length > 0)) {
    faults.push('  "prefix" must be a path such as "/auth" for the login routes, got nothing')
  }
  if (secondFactor !== undefined && cookies !== undefined && providers.length > 0) {
    const { page } = secondFactor
    if (typeof page !== 'string' || !isLocalPath(page)) {
      faults.push(
        '  "secondFactor.page" must be the path of a page such as "/login/code", because "oidc" and ' +
          `"cookies" are set, got ${JSON.stringify(page) ?? 'nothing'}`,
      )
    }
  }
  if (settings.linking !== undefined && settings.findUser === undefined) {
    faults.push('  "findUser" must be a function, because "linking" is set, got nothing')
  }
  if (settings.linking !== undefined && providers.length === 0) {
    faults.push('  "oidc" must have a provider, because "linking" is set, got none')
  }
  for (const [name, { clientSecret, privateKeyJwt }] of Object.entries(oidc)) {
    if ((clientSecret === undefined) !== (privateKeyJwt === undefined)) continue
    faults.push(
      `  "oidc.${name}" must have exactly one of "clientSecret" and "privateKeyJwt", got ` +
        (clientSecret === undefined ? 'none' : 'both'),
    )
  }
  for (const name of providers) {
    if (/^[a-z][a-z0-9-]{0,31}$/.test(name)) continue
    faults.push(
      `  "oidc" must have names of 1 to 32 lower-case letters, digits and hyphens, got ${JSON.stringify(name)}`,
    )
  }
  return faults
}

function checkUrl(value: unknown): string | undefined {
  const isUrl = typeof value === 'string' && URL.canParse(value)
  if (isUrl && /^https?:$/.test(new URL(value).protocol)) return undefined
  const got = value === undefined ? 'nothing' : describeValue(value)
  return `must be a URL that begins with "https://" or "http://", got ${got}`
}

function checkPage(value: unknown): string | undefined {
  // The token is put behind the URL as its fragment.
  return checkUrl(value) ?? ((value as string).includes('#') ? 'must have no fragment' : undefined)
}

function checkOrigin(value: unknown): string | undefined {
  const isOrigin =
    typeof value === 'string' && URL.canParse(value) && new URL(value).origin === value
  // A valid URL may contain "*", but origins are compared as texts.
  if (isOrigin && !value.includes('*')) return undefined
  return 'must be an origin such as "https://app.example.com", without wildcards'
}
