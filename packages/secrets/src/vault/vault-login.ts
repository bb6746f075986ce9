/** The token for Vault: given, or from a login that is renewed and repeated in time. */
import { readFile } from 'node:fs/promises'
import { PARAPET_SECRETS_PROVIDER_FAILED } from '../errors.ts'
import { Secret } from '../value/secret.ts'
import { askVault, type VaultAnswer, type VaultBody, type VaultEndpoint } from './vault-request.ts'

/** How the service proves to Vault who it is. */
export type VaultAuth =
  | { readonly token: string | Secret }
  | {
      readonly appRole: {
        readonly roleId: string
        readonly secretId?: string | Secret
        /** @default 'approle' */
        readonly mount?: string
      }
    }
  | {
      readonly kubernetes: {
        readonly role: string
        /** @default the token of the pod's service account, read anew for each login */
        readonly tokenFile?: string
        /** @default 'kubernetes' */
        readonly mount?: string
      }
    }

const KUBERNETES_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
/** A token is renewed when a third of its time is left. */
const RENEW_RATIO = 2 / 3
const SHORTEST_WAIT_MS = 1000
const RETRY_SECONDS = 15

/** Holds the token. */
export class VaultLogin {
  readonly #endpoint: VaultEndpoint
  readonly #auth: VaultAuth
  readonly #onError: (error: unknown) => void
  /** Called after each login but the first: what the former token made ends with it. */
  readonly #onNewToken: () => void
  #hasLoggedIn = false
  #token: Promise<Secret> | undefined
  #cancel = (): void => {}
  #isClosed = false

  constructor(
    endpoint: VaultEndpoint,
    auth: VaultAuth,
    { onError, onNewToken }: { onError: (error: unknown) => void; onNewToken: () => void },
  ) {
    this.#endpoint = endpoint
    this.#auth = auth
    this.#onError = onError
    this.#onNewToken = onNewToken
  }

  /** Whether the token comes from a login, so that a new one can replace it. */
  get isLogin(): boolean {
    return !('token' in this.#auth)
  }

  /** The token; concurrent callers share one login. */
  token(): Promise<Secret> {
    this.#token ??= this.#begin().catch((error: unknown) => {
      this.#token = undefined
      throw error
    })
    return this.#token
  }

  /**
   * Forgets a token that has ended, so that the next call logs in.
   *
   * @returns `false`: the token is valid, so it was the request that is forbidden.
   */
  async forget(refused: Secret): Promise<boolean> {
    const answer = await this.#ask('GET', 'auth/token/lookup-self', refused)
    if (answer.status === 200) return false
    // Another call may have replaced it meanwhile.
    const current = await this.#token?.catch(() => undefined)
    if (current === refused) {
      this.#cancel()
      this.#token = undefined
    }
    return true
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }

  async #begin(): Promise<Secret> {
    if ('token' in this.#auth) {
      const token = asSecret(this.#auth.token)
      await this.#scheduleGiven(token)
      return token
    }
    const { token, auth } = await this.#logIn(this.#auth)
    this.#schedule(token, auth)
    this.#announce()
    return token
  }

  async #logIn(given: LoginAuth): Promise<{ token: Secret; auth: VaultAuthBody }> {
    const answer = await askVault(this.#endpoint, await loginRequest(given))
    const { auth } = answer.body
    if (answer.status !== 200 || typeof auth?.client_token !== 'string') {
      throw new PARAPET_SECRETS_PROVIDER_FAILED('vault', `the login was refused: ${answer.reason}`)
    }
    return { token: new Secret(auth.client_token), auth }
  }

  #announce(): void {
    if (this.#hasLoggedIn) this.#onNewToken()
    this.#hasLoggedIn = true
  }

  /** A given token may have a time to live as well; a root token, or one without renewal, is left alone. */
  async #scheduleGiven(token: Secret): Promise<void> {
    const answer = await this.#ask('GET', 'auth/token/lookup-self', token)
    const { ttl, renewable } = (answer.body.data ?? {}) as { ttl?: number; renewable?: boolean }
    if (answer.status !== 200 || renewable !== true || typeof ttl !== 'number') return
    this.#schedule(token, { lease_duration: ttl, renewable })
  }

  #schedule(token: Secret, { lease_duration: seconds = 0, renewable }: VaultAuthBody): void {
    this.#cancel()
    if (seconds <= 0 || this.#isClosed) return
    const waitMs = Math.max(SHORTEST_WAIT_MS, seconds * 1000 * RENEW_RATIO)
    this.#cancel = this.#endpoint.clock.schedule(waitMs, () => {
      this.#renew(token, renewable === true).catch(this.#onError)
    })
  }

  async #renew(token: Secret, renewable: boolean): Promise<void> {
    const answer = renewable
      ? await this.#ask('POST', 'auth/token/renew-self', token).catch(() => undefined)
      : undefined
    const { auth } = answer?.body ?? {}
    // A time to live that no longer grows has reached the maximum of the token.
    if (answer?.status === 200 && auth !== undefined && auth !== null && isLong(auth)) {
      this.#schedule(token, auth)
    } else if (!('token' in this.#auth)) {
      await this.#replace(this.#auth).catch((error: unknown) => {
        this.#schedule(token, { lease_duration: RETRY_SECONDS, renewable })
        throw error
      })
    } else if (answer === undefined || answer.status !== 403) {
      this.#schedule(token, { lease_duration: RETRY_SECONDS, renewable })
    } else {
      throw new PARAPET_SECRETS_PROVIDER_FAILED(
        'vault',
        `the token cannot be renewed: ${answer.reason}`,
      )
    }
  }

  /** The former token is used until the login has succeeded; it has a third of its time left. */
  async #replace(auth: LoginAuth): Promise<void> {
    const former = this.#token
    const { token, auth: granted } = await this.#logIn(auth)
    // A call whose token was refused has logged in meanwhile; this token may be older than that refusal.
    if (this.#token !== former) return
    this.#token = Promise.resolve(token)
    this.#schedule(token, granted)
    this.#announce()
  }

  #ask(method: 'GET' | 'POST', path: string, token: Secret): Promise<VaultAnswer> {
    const body = method === 'POST' ? { body: {} } : undefined
    return token.use((value) => askVault(this.#endpoint, { method, path, token: value, ...body }))
  }
}

type LoginAuth = Exclude<VaultAuth, { token: unknown }>
type VaultAuthBody = NonNullable<VaultBody['auth']>

function isLong({ lease_duration: seconds = 0 }: VaultAuthBody): boolean {
  return seconds >= 5
}

function asSecret(text: string | Secret): Secret {
  return text instanceof Secret ? text : new Secret(text)
}

async function loginRequest(auth: LoginAuth) {
  if ('appRole' in auth) {
    const { roleId, secretId, mount = 'approle' } = auth.appRole
    const secret = secretId === undefined ? undefined : asSecret(secretId).use((value) => value)
    return {
      method: 'POST',
      path: `auth/${mount}/login`,
      body: { role_id: roleId, ...(secret !== undefined && { secret_id: secret }) },
    } as const
  }
  const { role, tokenFile = KUBERNETES_TOKEN, mount = 'kubernetes' } = auth.kubernetes
  try {
    const jwt = (await readFile(tokenFile, 'utf8')).trim()
    return { method: 'POST', path: `auth/${mount}/login`, body: { role, jwt } } as const
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new PARAPET_SECRETS_PROVIDER_FAILED('vault', `the file ${tokenFile}: ${code}`)
  }
}
