/**
 * The options, their defaults, and the function that reads and checks them. The file is long because each
 * option is documented where it is declared.
 */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Cipher,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type Principal,
  type PrincipalMapping,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AccountRepository } from './account/account-repository.ts'
import { PARAPET_MFA_INVALID_OPTION } from './errors.ts'
import type { Notice } from './factors/context.ts'
import { profiles, type Profile, type Profiled } from './profiles/profile.ts'
import type { MfaProof } from './proofs/proof.ts'
import type { RoleRequirement } from './step-up/rules.ts'
import type { TotpAlgorithm, TotpSettings } from './totp/totp-code.ts'

/** Starts a session for a user who logged in with a passkey alone. Its result is the response. */
export type SignIn = (
  proof: MfaProof,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<object>

/**
 * Renews the tokens of the session that has shown a factor. It starts a session with a new id, calls
 * `app.mfa.assure(proof, id)` before its tokens leave, and ends the old one.
 *
 * @returns what the response carries besides the proof, such as tokens; `null` if the session is of
 *   another login and goes on under its id.
 */
export type Elevate = (
  proof: MfaProof,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<object | null>

/** Names the account of a user, as authenticator apps and passkey pickers show it. */
export type AccountName = (
  request: FastifyRequest,
  principal: Principal,
) => string | Promise<string>

/**
 * Says what the login of a caller has proved by itself: `'aal2'` two factors, `'phr'` a
 * phishing-resistant factor among them, `null` or `undefined` nothing that is trusted.
 */
export type TrustLogin = (
  principal: Principal,
  request: FastifyRequest,
) => 'aal2' | 'phr' | null | undefined

/**
 * Since when a caller has to show a factor anew on every route that is not `'open'`, in milliseconds since the
 * epoch; `null` or `undefined`: no such demand. It is asked for every request, so it must answer from memory.
 */
export type DemandedSince = (
  principal: Principal,
  request: FastifyRequest,
) => number | null | undefined

/** The relying party of passkeys. */
export interface PasskeyOptions {
  /** A domain without a scheme: `example.org`. Passkeys are bound to it permanently. */
  readonly rpId: string
  /**
   * Origins of the pages that may use passkeys: `https://example.org`. 1 to 20. An Android app has
   * `android:apk-key-hash:` with the SHA-256 of its certificate, base64url.
   */
  readonly origins: readonly string[]
  /** Origins of other sites that may embed such a page in a frame, at most 20. @default none */
  readonly topOrigins?: readonly string[]
  /**
   * `'preferred'` also accepts security keys without a PIN. The price: such a key is one factor, so who
   * steals the key and the password has both. A login with a passkey alone always verifies the user.
   * @default 'required'
   */
  readonly userVerification?: 'required' | 'preferred'
}

/** How codes of authenticator apps are computed and accepted. */
export interface TotpOptions {
  /** @default 'SHA1', which every app supports */
  readonly algorithm?: TotpAlgorithm
  /** Digits of a code, 6 to 8. @default 6 */
  readonly digits?: number
  /**
   * Steps of 30 s that are accepted to each side of now while the drift of the user's clock is
   * unknown, 0 to 5. @default 2; with the profile aal2 1, with asvs 0
   */
  readonly window?: number
  /** Steps accepted to each side of the known drift, 0 to `window`. @default 1; with asvs 0 */
  readonly learnedWindow?: number
}

/** How many wrong codes are allowed. */
export interface ThrottleOptions {
  /** Wrong codes in a row before the first wait, 1 to 20. @default 5 */
  readonly freeAttempts?: number
  /** The first wait, 1 to 3600 seconds; each next one is twice as long. @default 30 */
  readonly firstWaitSeconds?: number
  /** The longest wait, 1 to 86 400 seconds. @default 3600 */
  readonly maxWaitSeconds?: number
  /** Wrong codes in a row that disable the factor, 10 to 100. @default 100 */
  readonly hardStop?: number
  /** Wrong codes in any 30 days, 10 to 1 000 000. A right code does not reset it. @default 150 */
  readonly failuresPer30Days?: number
  /** How many accounts may have wrong codes from one address before it waits, 1 to 10 000. @default 20 */
  readonly freeAttemptsPerAddress?: number
}

/** The hook in which the rules of routes are decided. */
export type DecisionHook = 'onRequest' | 'preParsing' | 'preHandler'

/** The options of the plugin. */
export interface MfaOptions {
  /** The name of this service in authenticator apps: 1 to 64 characters, no colon. */
  readonly issuer: string
  /** Keys for the built-in cipher: `id:base64url`, the primary first. @default none; set `cipher` */
  readonly keys?: string
  /** Your own cipher, instead of `keys`. @default AES-256-GCM under `keys` */
  readonly cipher?: Cipher
  /** Stores tickets, challenges and the proofs of sessions. @default in memory, lost on restart */
  readonly store?: Store
  /** Stores accounts in PostgreSQL; the tables are created at boot. @default accounts in `store` */
  readonly sql?: SqlClient
  /** Your own storage of accounts. @default `sql` if set, else `store` */
  readonly accounts?: AccountRepository
  readonly totp?: TotpOptions
  /** Backup codes per user, 4 to 20. @default 8 */
  readonly backupCodes?: number
  /** @default no passkeys */
  readonly passkeys?: PasskeyOptions
  readonly throttle?: ThrottleOptions
  /** The boot fails if a code can be guessed within 30 days with more. To 0.01. @default 0.001 */
  readonly maxGuessProbability?: number
  /** What each role must show on every route that is not `'open'`. @default nothing */
  readonly roles?: Readonly<Record<string, RoleRequirement>>
  /** Roles that may reset the factors of other users. @default none */
  readonly adminRoles?: readonly string[]
  /** How long a proof counts in its session, 1 to 2 592 000. @default 43 200 */
  readonly proofMaxAgeSeconds?: number
  /** How old a proof may be to change factors, 1 to 86 400. @default 300 */
  readonly manageMaxAgeSeconds?: number
  /** How long a device is remembered, 0 (never) to a year. @default 2 592 000; with a profile 0 */
  readonly deviceMaxAgeSeconds?: number
  /** Finds the caller, in an app whose login does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /**
   * The hook in which rules are decided. `preParsing` comes after all `onRequest` hooks, also those of the
   * route itself and of plugins that were registered later; `preHandler` comes after those of the route, when
   * the body has been parsed: every caller can then make the service do that work. @default 'onRequest'
   */
  readonly hook?: DecisionHook
  /** Names the account in authenticator apps and passkey pickers. @default the principal's id */
  readonly accountName?: AccountName
  /**
   * What a login has proved by itself, for instance the second factor of an identity provider, from its
   * `amr` or `acr`. It counts from the principal's `authenticatedAt` on. @default nothing
   */
  readonly trustLogin?: TrustLogin
  /** Demands a factor of callers under suspicion, until it returns nothing. @default no demand */
  readonly demandedSince?: DemandedSince
  /** Starts a session after a login with a passkey alone. @default no login routes */
  readonly signIn?: SignIn
  /** Gives a session new tokens after a proof. @default its old tokens are lifted with it */
  readonly elevate?: Elevate
  /** Ends a user's sessions after a reset. @default only this plugin's proofs are revoked */
  readonly revokeSessions?: (userId: string) => Promise<void>
  /** Notifies a user of a change to the account, out of band. @default users are not notified */
  readonly notify?: (notice: Notice) => void | Promise<void>
  /** Stricter defaults for a standard. @default none */
  readonly profile?: Profile
  /** The prefix of the routes. @default '/mfa' */
  readonly prefix?: string
  /** Whether the plugin adds routes. @default true */
  readonly routes?: boolean
  readonly clock?: Clock
}

const isOrigin = (value: unknown): boolean =>
  typeof value === 'string' && URL.canParse(value) && new URL(value).origin === value
const origin = option.custom<string>((value) =>
  isOrigin(value) ? undefined : 'must be an origin such as "https://example.org", without a path',
)

const appOrigin = /^android:apk-key-hash:[\w-]{43}$/
const pageOrApp = option.custom<string>((value) => {
  if (typeof value === 'string' && appOrigin.test(value)) return undefined
  return isOrigin(value)
    ? undefined
    : 'must be an origin such as "https://example.org", without a path, or "android:apk-key-hash:" and 43 characters'
})

const requirement = {
  maxAgeSeconds: option.optional(option.seconds()),
  phishingResistant: option.optional(option.boolean()),
  rememberedDevice: option.optional(option.boolean()),
  ifEnrolled: option.optional(option.boolean()),
  graceSeconds: option.seconds({ min: 0, max: 31_536_000, default: 0 }),
}

/** One reader per option. A test compares the table with the README. */
export const optionTable = {
  issuer: option.text({
    max: 64,
    pattern: /^[^:]+$/,
    form: 'a name without a colon such as "Acme"',
  }),
  keys: option.optional(option.text({ max: 4096 })),
  cipher: option.optional(option.port<Cipher>(['seal', 'open'])),
  store: option.optional(option.port<Store>(['get', 'set', 'compareAndSet', 'getAndDelete'])),
  sql: option.optional(option.port<SqlClient>(['query', 'transaction'])),
  accounts: option.optional(
    option.port<AccountRepository>(['load', 'save', 'findByCredential', 'remove']),
  ),
  totp: optionGroup({
    algorithm: option.oneOf(['SHA1', 'SHA256', 'SHA512'], { default: 'SHA1' }),
    digits: option.integer({ min: 6, max: 8, default: 6 }),
    window: option.optional(option.integer({ max: 5 })),
    learnedWindow: option.optional(option.integer({ max: 5 })),
  }),
  backupCodes: option.integer({ min: 4, max: 20, default: 8 }),
  passkeys: option.optional(
    optionGroup({
      rpId: option.text({
        max: 253,
        pattern: /^[a-z0-9.-]+$/,
        form: 'a domain in lower case without a scheme such as "example.org"',
      }),
      origins: option.list(pageOrApp, { min: 1, max: 20 }),
      topOrigins: option.list(origin, { max: 20, default: [] }),
      userVerification: option.oneOf(['required', 'preferred'], { default: 'required' }),
    }),
  ),
  throttle: optionGroup({
    freeAttempts: option.integer({ min: 1, max: 20, default: 5 }),
    firstWaitSeconds: option.seconds({ max: 3600, default: 30 }),
    maxWaitSeconds: option.seconds({ max: 86_400, default: 3600 }),
    hardStop: option.integer({ min: 10, max: 100, default: 100 }),
    failuresPer30Days: option.integer({ min: 10, max: 1_000_000, default: 150 }),
    freeAttemptsPerAddress: option.integer({ min: 1, max: 10_000, default: 20 }),
  }),
  maxGuessProbability: option.custom<number>(checkProbability, { default: 0.001 }),
  roles: option.map(optionGroup(requirement), { default: {} }),
  adminRoles: option.list(option.text(), { default: [] }),
  proofMaxAgeSeconds: option.optional(option.seconds({ max: 2_592_000 })),
  manageMaxAgeSeconds: option.seconds({ max: 86_400, default: 300 }),
  deviceMaxAgeSeconds: option.optional(option.seconds({ min: 0, max: 31_536_000 })),
  principal: option.optional(option.callback<PrincipalMapping>()),
  hook: option.oneOf<DecisionHook>(['onRequest', 'preParsing', 'preHandler'], {
    default: 'onRequest',
  }),
  accountName: option.optional(option.callback<AccountName>()),
  trustLogin: option.optional(option.callback<TrustLogin>()),
  demandedSince: option.optional(option.callback<DemandedSince>()),
  signIn: option.optional(option.callback<SignIn>()),
  elevate: option.optional(option.callback<Elevate>()),
  revokeSessions: option.optional(option.callback<(userId: string) => Promise<void>>()),
  notify: option.optional(option.callback<(notice: Notice) => void | Promise<void>>()),
  profile: option.optional(option.oneOf(['aal2', 'asvs'])),
  prefix: option.text({
    max: 128,
    pattern: /^(?:\/[\w.-]+)+$/,
    form: 'a path such as "/mfa"',
    default: '/mfa',
  }),
  routes: option.boolean({ default: true }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof MfaOptions, OptionReader<unknown>>

type ReadOptions = OptionSettings<typeof optionTable>

/** The options with all defaults. */
export interface MfaSettings
  extends Omit<ReadOptions, 'totp' | keyof Profiled>, Omit<Profiled, keyof TotpSettings> {
  readonly totp: TotpSettings
}

/** Options of which one can be set at most. */
const EXCLUSIVE = [
  ['cipher', 'keys'],
  ['sql', 'accounts'],
] as const

/** Reads the options at boot. @throws PARAPET_MFA_INVALID_OPTION */
export function resolveOptions(options: unknown): MfaSettings {
  const settings = readOptions('@parapet/mfa', options, optionTable, PARAPET_MFA_INVALID_OPTION)
  for (const [one, other] of EXCLUSIVE) {
    if (settings[one] === undefined || settings[other] === undefined) continue
    refuseOption(`"${one}" and "${other}" exclude each other, got both: remove one`)
  }
  const defaults = profiles[settings.profile ?? 'none']
  const { totp, deviceMaxAgeSeconds, proofMaxAgeSeconds } = settings
  const window = totp.window ?? defaults.window
  const learnedWindow = totp.learnedWindow ?? Math.min(window, defaults.learnedWindow)
  if (learnedWindow > window) {
    refuseOption(
      `"totp.learnedWindow" must be at most totp.window, ${window}, got ${learnedWindow}`,
    )
  }
  return {
    ...settings,
    totp: { ...totp, window, learnedWindow },
    deviceMaxAgeSeconds: deviceMaxAgeSeconds ?? defaults.deviceMaxAgeSeconds,
    proofMaxAgeSeconds: proofMaxAgeSeconds ?? defaults.proofMaxAgeSeconds,
  }
}

/** @throws PARAPET_MFA_INVALID_OPTION */
export function refuseOption(fault: string): never {
  throw new PARAPET_MFA_INVALID_OPTION('@parapet/mfa', `  ${fault}`)
}

function checkProbability(value: unknown): string | undefined {
  const valid = typeof value === 'number' && value > 0 && value <= 0.01
  return valid ? undefined : 'must be a number above 0 and at most 0.01'
}
