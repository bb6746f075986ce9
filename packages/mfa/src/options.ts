/** The options, their defaults and their reader. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Cipher,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AccountRepository } from './accounts.ts'
import type { Notice } from './core.ts'
import { PARAPET_MFA_INVALID_OPTION } from './errors.ts'
import type { Profile } from './profile.ts'
import type { MfaProof } from './proof.ts'
import type { RevokeSessions } from './resets.ts'
import type { RoleRequirement } from './step-up.ts'
import type { TotpAlgorithm } from './totp.ts'

/** Starts a session for a user who signed in with nothing but a passkey; what it returns is answered. */
export type SignIn = (
  proof: MfaProof,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<object>

/** The relying party of passkeys. */
export interface PasskeyOptions {
  /** A domain without a scheme: `example.org`. Passkeys belong to it for good. */
  readonly rpId: string
  /** Where pages may ask from: `https://example.org`. At least one. */
  readonly origins: readonly string[]
  /** Sites that may frame such a page while it asks. @default none */
  readonly topOrigins?: readonly string[]
}

/** How codes of authenticator apps are made. */
export interface TotpOptions {
  /** @default 'SHA1', which every app reads */
  readonly algorithm?: TotpAlgorithm
  /** 6 to 8. @default 6 */
  readonly digits?: number
  /** Steps of 30 s to each side while the drift is unknown, 0 to 5. @default 2; aal2: 1; asvs: 0 */
  readonly window?: number
  /** Steps around the drift once it is known, 0 to `window`. @default 1; asvs: 0 */
  readonly learnedWindow?: number
}

/** How often codes may be tried. */
export interface ThrottleOptions {
  /** Wrong codes in a row before the first wait, 1 to 20. @default 5 */
  readonly freeAttempts?: number
  /** The first wait; each next one is twice as long. 1 to 3600. @default 30 */
  readonly firstWaitSeconds?: number
  /** The longest wait, up to 86 400. @default 3600 */
  readonly maxWaitSeconds?: number
  /** Wrong codes in a row that disable the factor, 10 to 100. @default 100 */
  readonly hardStop?: number
  /** Wrong codes in any 30 days, whatever succeeded between. @default 150 */
  readonly failuresPer30Days?: number
  /** Wrong codes from one address, over all accounts, before it waits. @default 20 */
  readonly freeAttemptsPerAddress?: number
}

/** What `app.register` takes. */
export interface MfaOptions {
  /** What authenticator apps call this service: 1 to 64 characters, no colon. */
  readonly issuer: string
  /** Keys for the built-in cipher, as `parseCipherKeys` of kit reads them. @default none; give `cipher` */
  readonly keys?: string
  /** A cipher of your own. @default AES-256-GCM under `keys` */
  readonly cipher?: Cipher
  /** Tickets, challenges, marks of sessions. @default this process's memory */
  readonly store?: Store
  /** Where accounts are kept: PostgreSQL. Its tables are made at boot. @default the store */
  readonly sql?: SqlClient
  /** Where accounts are kept: a repository of your own. @default `sql`, else the store */
  readonly accounts?: AccountRepository
  readonly totp?: TotpOptions
  /** How many backup codes a user gets, 4 to 20. @default 8 */
  readonly backupCodes?: number
  /** @default no passkeys */
  readonly passkeys?: PasskeyOptions
  readonly throttle?: ThrottleOptions
  /** The bound of {@link guessProbability}, above which the boot fails. @default 0.001 */
  readonly maxGuessProbability?: number
  /** What each role must show on every route. @default nothing */
  readonly roles?: Readonly<Record<string, RoleRequirement>>
  /** Roles that may reset other users' factors. @default none */
  readonly adminRoles?: readonly string[]
  /** How long a proof counts in its session, at most. @default 43 200 */
  readonly proofMaxAgeSeconds?: number
  /** How fresh a proof must be to change factors. @default 300 */
  readonly manageMaxAgeSeconds?: number
  /** How long a device is remembered; 0 turns it off. @default 2 592 000; with a profile 0 */
  readonly deviceMaxAgeSeconds?: number
  /** Who is asking, in an app whose login does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** What a user's authenticator calls the account. @default the principal's id */
  readonly accountName?: (request: FastifyRequest) => string
  /** Starts a session after a sign-in with a passkey alone. @default there is no such sign-in */
  readonly signIn?: SignIn
  /** Ends a user's sessions after a reset. @default only the proofs of this plugin end */
  readonly revokeSessions?: RevokeSessions
  /** Tells a user what happened to the account, out of band. @default nobody is told */
  readonly notify?: (notice: Notice) => void | Promise<void>
  /** Stricter defaults by a standard. @default none */
  readonly profile?: Profile
  /** Where the routes are. @default '/mfa' */
  readonly prefix?: string
  /** Whether there are routes at all. @default true */
  readonly routes?: boolean
  readonly clock?: Clock
}

const origin = option.custom<string>((value) =>
  typeof value === 'string' && URL.canParse(value) && new URL(value).origin === value
    ? undefined
    : 'must be an origin such as "https://example.org", without a path',
)

const requirement = {
  maxAgeSeconds: option.optional(option.seconds()),
  phishingResistant: option.optional(option.boolean()),
  rememberedDevice: option.optional(option.boolean()),
  graceSeconds: option.seconds({ min: 0, max: 31_536_000, default: 0 }),
}

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  issuer: option.text({ max: 64, pattern: /^[^:]+$/ }),
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
      rpId: option.text({ max: 253, pattern: /^[a-z0-9.-]+$/ }),
      origins: option.list(origin, { min: 1, max: 20 }),
      topOrigins: option.list(origin, { max: 20, default: [] }),
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
  accountName: option.optional(option.callback<(request: FastifyRequest) => string>()),
  signIn: option.optional(option.callback<SignIn>()),
  revokeSessions: option.optional(option.callback<RevokeSessions>()),
  notify: option.optional(option.callback<(notice: Notice) => void | Promise<void>>()),
  profile: option.optional(option.oneOf(['aal2', 'asvs'])),
  prefix: option.text({ max: 128, pattern: /^(?:\/[\w.-]+)+$/, default: '/mfa' }),
  routes: option.boolean({ default: true }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof MfaOptions, OptionReader<unknown>>

/** The options with every default filled in that no profile changes. */
export type MfaSettings = OptionSettings<typeof optionTable>

/** Reads the options, once, at boot. @throws PARAPET_MFA_INVALID_OPTION */
export function resolveOptions(options: unknown): MfaSettings {
  return readOptions('@parapet/mfa', options, optionTable, PARAPET_MFA_INVALID_OPTION)
}

function checkProbability(value: unknown): string | undefined {
  const valid = typeof value === 'number' && value > 0 && value <= 0.01
  return valid ? undefined : 'must be a number above 0, at most 0.01'
}
