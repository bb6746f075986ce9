/** OpenID providers: their options, and the reader of these. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'
import type { SessionUser } from '../users/user.ts'
import type { ClientKeyInput } from './client-key.ts'

/** Allows a provider over plain HTTP. What is lost: anybody on the network can read the client secret. */
export const allowInsecureProvider: unique symbol = Symbol('allowInsecureProvider')

/**
 * Takes a visit that was asked for with `prompt=login` as a login of its own where the ID token has no `auth_time`. What
 * is lost: a provider that ignores `prompt` proves nothing, and without `pushRequests` neither does any other, because
 * a person at the browser can remove `prompt` from the URL.
 */
export const acceptPromptAsLogin: unique symbol = Symbol('acceptPromptAsLogin')

/** A user as a provider describes them. The signature of the ID token is verified. */
export interface ProviderProfile {
  /** The name of the provider in the option `oidc`. */
  readonly provider: string
  readonly subject: string
  /**
   * The claims of the ID token, with `userinfo` also those of the provider's userinfo endpoint. An `email`
   * is proven only if `email_verified` is true.
   */
  readonly claims: Readonly<Record<string, unknown>>
  /** The roles from `roleClaim` and `roleMap`. */
  readonly roles: readonly string[]
}

/** The methods for each value of the claims `amr` and `acr`; other values are ignored. */
interface TrustedMethods {
  readonly amr?: Readonly<Record<string, readonly string[]>>
  readonly acr?: Readonly<Record<string, readonly string[]>>
}

/** How the response of a provider comes back: as a redirect, or as a form that the browser sends. */
export type ResponseMode = 'query' | 'form_post'
/** OpenID Connect Core 1.0, section 3.1.2.1. */
type Prompt = 'login' | 'consent' | 'select_account'

/** What a step-up asks of a provider. @see OpenID Connect Core 1.0, section 3.1.2.1; RFC 9470 */
export interface StepUpOptions {
  /** The levels that are asked for; at none of them it is refused. */
  readonly acrValues?: readonly string[] | undefined
  /** How long ago the user may have authenticated, in milliseconds. */
  readonly maxAgeMs?: number | undefined
  readonly prompt?: readonly Prompt[] | undefined
}

/** One OpenID provider. */
export interface OidcProviderOptions {
  /** The issuer URL; its metadata are read from `/.well-known/openid-configuration`. */
  readonly issuer: string
  readonly clientId: string
  /** Either this or `privateKeyJwt` authenticates this service at the provider. */
  readonly clientSecret?: string | undefined
  /** A private key in place of a shared secret: the provider knows only its public key. */
  readonly privateKeyJwt?: ClientKeyInput | undefined
  /** The public URL of the callback route of this service, as registered with the provider. */
  readonly redirectUri: string
  /** @default ['openid', 'profile', 'email'] */
  readonly scopes?: readonly string[] | undefined
  /** How the code comes back. `form_post` keeps it out of URLs and their logs. @default 'query' */
  readonly responseMode?: ResponseMode | undefined
  /**
   * Whether the request goes to the provider directly, so that nobody at the browser can read or change it (RFC 9126).
   * The provider must support that. @default false
   */
  readonly pushRequests?: boolean | undefined
  /** What the provider asks the user, even if it knows the user already. @default its own choice */
  readonly prompt?: readonly Prompt[] | undefined
  /** The levels that are asked for. A login at none of them is refused. @default none */
  readonly acrValues?: readonly string[] | undefined
  /** How long ago the user may have authenticated when the login begins. @default any time */
  readonly maxAgeMs?: number | undefined
  /** What a step-up asks for. @default `prompt: ['login']`, `maxAgeMs: 0`, `acrValues` of the login */
  readonly stepUp?: StepUpOptions | undefined
  /**
   * The public URL of the route `logged-out`, as registered with the provider: it sends the browser back
   * there after a logout. @default none: the browser stays at the provider
   */
  readonly postLogoutRedirectUri?: string | undefined
  /**
   * Whether the ID token of a login is kept, encrypted, in the store to be sent with a logout. Some
   * providers refuse a logout without it or ask the user. It takes up to 8 KB a session, and is in the
   * URL that the browser visits. @default false
   */
  readonly keepIdToken?: boolean | undefined
  /** Whether the claims of the userinfo endpoint are loaded as well. @default false */
  readonly userinfo?: boolean | undefined
  /** The claim that lists groups or roles. @default none: users get no role */
  readonly roleClaim?: string | undefined
  /** The roles for each value of that claim; a value that is not listed gives none. @default {} */
  readonly roleMap?: Readonly<Record<string, readonly string[]>> | undefined
  /**
   * Which of the provider's methods and levels this service trusts, as methods of RFC 8176:
   * `{ amr: { mfa: ['mfa'] }, acr: { phr: ['hwk', 'mfa'] } }`. A login that is mapped to `mfa` needs no
   * second step. @default none: the method is `oidc`
   */
  readonly trustedMethods?: TrustedMethods | undefined
  /**
   * Maps the profile to a user; `null` or `undefined` refuses the login.
   * @default `<provider>:<subject>` and the roles
   */
  readonly findUser?:
    | ((profile: ProviderProfile) => Promise<SessionUser | null | undefined>)
    | undefined
  readonly [allowInsecureProvider]?: true
  readonly [acceptPromptAsLogin]?: true
}

/** The options of a provider with the defaults filled in. */
export type ProviderSettings = Omit<
  OidcProviderOptions,
  | typeof allowInsecureProvider
  | typeof acceptPromptAsLogin
  | 'responseMode'
  | 'pushRequests'
  | 'userinfo'
  | 'keepIdToken'
> & {
  readonly responseMode: ResponseMode
  readonly userinfo: boolean
  readonly keepIdToken: boolean
  readonly pushRequests: boolean
  readonly [allowInsecureProvider]: boolean
  readonly [acceptPromptAsLogin]: boolean
}

const DAY_MS = 86_400_000

const prompts = option.optional(
  option.list(option.oneOf<Prompt>(['login', 'consent', 'select_account']), { min: 1 }),
)
const levels = option.optional(
  option.list(option.text({ max: 128, pattern: /^[!-~]+$/, form: 'a level without spaces' }), {
    min: 1,
    max: 10,
  }),
)
const age = option.optional(option.milliseconds({ min: 0, max: 365 * DAY_MS }))

/** The reader of one provider. @param checkUrl says what is wrong with a URL. */
export function createProviderReader(
  checkUrl: (value: unknown) => string | undefined,
): OptionReader<ProviderSettings> {
  const url = option.custom<string>(checkUrl)
  return optionGroup({
    issuer: url,
    clientId: option.text(),
    clientSecret: option.optional(option.text()),
    privateKeyJwt: option.optional(
      optionGroup({
        pem: option.text({ max: 16_384 }),
        passphrase: option.optional(option.text()),
        keyId: option.optional(option.text()),
      }),
    ),
    redirectUri: url,
    scopes: option.optional(
      option.list(option.text({ pattern: /^[\w.:/-]+$/, form: 'a scope such as "openid"' }), {
        min: 1,
        max: 50,
      }),
    ),
    responseMode: option.oneOf<ResponseMode>(['query', 'form_post'], { default: 'query' }),
    pushRequests: option.boolean({ default: false }),
    prompt: prompts,
    acrValues: levels,
    maxAgeMs: age,
    stepUp: option.optional(optionGroup({ acrValues: levels, maxAgeMs: age, prompt: prompts })),
    postLogoutRedirectUri: option.optional(url),
    keepIdToken: option.boolean({ default: false }),
    userinfo: option.boolean({ default: false }),
    roleClaim: option.optional(option.text()),
    roleMap: option.map(option.list(option.text()), { default: {} }),
    trustedMethods: option.optional(
      optionGroup({
        amr: option.map(option.list(option.text(), { min: 1 }), { default: {} }),
        acr: option.map(option.list(option.text(), { min: 1 }), { default: {} }),
      }),
    ),
    findUser: option.optional(
      option.callback<(profile: ProviderProfile) => Promise<SessionUser | null>>(),
    ),
    [allowInsecureProvider]: option.danger(),
    [acceptPromptAsLogin]: option.danger(),
  })
}
