/** A client of Vault's HTTP API: what a service needs of it. */
import { isIP } from 'node:net'
import { option, readOptions, systemClock, type Clock, type OptionReader } from '@parapet/kit'
import { PARAPET_SECRETS_INVALID_OPTION, PARAPET_SECRETS_PROVIDER_FAILED } from '../errors.ts'
import { Secret } from '../value/secret.ts'
import { VaultLogin, type VaultAuth } from './vault-login.ts'
import {
  askVault,
  type VaultAnswer,
  type VaultEndpoint,
  type VaultRequest,
} from './vault-request.ts'

/** Sends the token in clear text: everyone on the network can read all secrets. */
export const allowPlainHttp: unique symbol = Symbol('allowPlainHttp')

/** What {@link createVaultClient} takes. */
export interface VaultOptions {
  /** `https://vault.example.org:8200`; `http:` only on this machine. */
  readonly address: string
  readonly auth: VaultAuth
  /** The namespace (Vault Enterprise). @default none */
  readonly namespace?: string
  /** For a call with all its attempts, 1 to 600 000 milliseconds. @default 5000 */
  readonly deadlineMs?: number
  /** Attempts after the first one, 0 to 10. @default 3 */
  readonly retries?: number
  readonly clock?: Clock
  /** Gets failures of renewals in the background. @default a process warning */
  readonly onError?: (error: unknown) => void
  readonly [allowPlainHttp]?: true
}

/** Asks Vault with a token. */
export interface VaultClient {
  /**
   * Sends a request with the token; logs in again once, if Vault refuses the token.
   *
   * @throws PARAPET_SECRETS_PROVIDER_TIMEOUT, PARAPET_SECRETS_PROVIDER_FAILED no answer came.
   */
  ask(request: Omit<VaultRequest, 'token'>): Promise<VaultAnswer>
  /** Asks without a token, for `sys/health`. */
  askOpenly(request: Omit<VaultRequest, 'token'>): Promise<VaultAnswer>
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** Calls back when a login has replaced the token: the leases of the former one end with it. */
  onNewToken(listener: () => void): () => void
  /** Lets a provider share the client. @returns what ends that; the last one closes the client */
  share(): () => void
  close(): void
}

const isText = (text: unknown): boolean =>
  text instanceof Secret || (typeof text === 'string' && text !== '')
const isAuth = (value: unknown): boolean => {
  const { token, appRole, kubernetes } = (value ?? {}) as Record<string, never>
  if (token !== undefined) return isText(token)
  if (appRole !== undefined) return isText((appRole as { roleId?: unknown }).roleId)
  return kubernetes !== undefined && isText((kubernetes as { role?: unknown }).role)
}

const optionTable = {
  address: option.text({
    max: 2048,
    pattern: /^https?:\/\/[^/?#@\s]+\/?$/,
    form: 'an origin such as "https://vault.example.org:8200"',
  }),
  auth: option.custom<VaultAuth>((value) =>
    isAuth(value) ? undefined : 'must have "token", "appRole.roleId" or "kubernetes.role"',
  ),
  namespace: option.optional(option.text({ max: 255, pattern: /^[\w./-]+$/ })),
  deadlineMs: option.milliseconds({ max: 600_000, default: 5000 }),
  retries: option.integer({ max: 10, default: 3 }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  onError: option.callback<(error: unknown) => void>({
    default: (error) => process.emitWarning(error as Error),
  }),
  [allowPlainHttp]: option.danger(),
} satisfies Record<keyof VaultOptions, OptionReader<unknown>>

/**
 * Makes a client. It connects at its first call.
 *
 * @throws PARAPET_SECRETS_INVALID_OPTION
 */
export function createVaultClient(options: VaultOptions): VaultClient {
  const settings = readOptions(
    'createVaultClient',
    options,
    optionTable,
    PARAPET_SECRETS_INVALID_OPTION,
  )
  const url = new URL(settings.address)
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && !settings[allowPlainHttp]) {
    throw new PARAPET_SECRETS_INVALID_OPTION(
      'createVaultClient',
      '  "address" must start with "https:", because the token would be sent in clear text',
    )
  }
  const { clock, onError } = settings
  const listeners = new Set<() => void>()
  const onNewToken = (): void => {
    for (const listener of listeners) listener()
  }
  const login = new VaultLogin(settings, settings.auth, { onError, onNewToken })
  const users = new Set<symbol>()
  return {
    clock,
    onError,
    ask: (request) => askWithToken(settings, login, request),
    askOpenly: (request) => askVault(settings, request),
    onNewToken(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    share() {
      const user = Symbol('provider')
      users.add(user)
      return () => {
        users.delete(user)
        if (users.size === 0) login.close()
      }
    },
    close: () => login.close(),
  }
}

/** A token that a login in the background has just got may be revoked as well. */
const MAX_TOKENS = 3

async function askWithToken(
  endpoint: VaultEndpoint,
  login: VaultLogin,
  request: Omit<VaultRequest, 'token'>,
): Promise<VaultAnswer> {
  const attempt = (token: Secret): Promise<VaultAnswer> =>
    token.use((text) => askVault(endpoint, { ...request, token: text }))
  for (let tokens = 1; ; tokens++) {
    const token = await login.token()
    const answer = await attempt(token)
    // The token was revoked, or has expired while this process slept; or it may not do this.
    const isRefused = answer.status === 403 && login.isLogin && tokens < MAX_TOKENS
    if (!isRefused || !(await login.forget(token))) return answer
  }
}

/** @throws PARAPET_SECRETS_PROVIDER_FAILED the answer has another status. */
export function requireStatus(
  answer: VaultAnswer,
  place: string,
  ...wanted: number[]
): VaultAnswer {
  if (wanted.includes(answer.status)) return answer
  throw new PARAPET_SECRETS_PROVIDER_FAILED('vault', `${place}: ${answer.reason}`)
}

function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '')
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}
