/**
 * The way of a browser to the logout of a provider, and back.
 *
 * @see OpenID Connect RP-Initiated Logout 1.0, sections 2 and 3
 */
import { createHash, createHmac } from 'node:crypto'
import { createLocalCipher, secretsEqual, type CipherKey, type Store } from '@parapet/kit'
import { deriveKey } from '../secrets/derive-key.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { loadClient, type Discovery } from './discovery.ts'
import { isLocalPath } from './local-path.ts'
import { LOGIN_LIFETIME_MS } from './login-ticket.ts'
import type { ProviderSettings } from './provider.ts'

/** See {@link createLogoutRequests}. */
export interface LogoutRequests {
  /** Keeps the ID token of a login, encrypted, where the provider has `keepIdToken`. */
  keepIdToken(origin: SessionOrigin, idToken: string): Promise<void>
  /**
   * The URL at the provider that ends its session. It is built once: the ID token is taken from the store.
   *
   * @param returnTo a path of this service.
   * @returns `null`: the provider has no logout or does not answer, so the logout is local.
   */
  logoutUrlOf(origin: SessionOrigin, returnTo: string): Promise<string | null>
  /** The path that a logout began with; `/` if the state is absent, forged or older than ten minutes. */
  pathOf(state: string | null): string
}

/** What {@link createLogoutRequests} needs. */
export interface LogoutRequestSettings {
  readonly providers: Readonly<Record<string, ProviderSettings>>
  readonly discovery: Discovery
  readonly store: Store
  readonly secrets: readonly string[]
  readonly now: () => number
  /** How long a session lives at most, in milliseconds. */
  readonly sessionMs: number
}

const MAX_ID_TOKEN_LENGTH = 8192

/** Creates the requests. */
export function createLogoutRequests(settings: LogoutRequestSettings): LogoutRequests {
  const { providers, store, secrets, now, sessionMs, discovery } = settings
  const cipher = createLocalCipher(secrets.map(cipherKeyOf))
  const stateKeys = secrets.map((secret) => deriveKey(secret, 'oidc logout'))

  async function takeIdToken(origin: SessionOrigin): Promise<string | null> {
    const key = idTokenKey(origin)
    const sealed = await store.getAndDelete(key)
    if (sealed === null) return null
    // Its secret may have been removed; the logout works without it at most providers.
    const opened = await cipher.open(sealed, [key]).catch(() => null)
    return opened === null ? null : opened.toString()
  }

  function stateOf(returnTo: string): string {
    const body = `${now().toString(36)}.${Buffer.from(returnTo).toString('base64url')}`
    return `${body}.${tagOf(stateKeys[0]!, body)}`
  }

  return {
    async keepIdToken(origin, idToken) {
      if (providers[origin.provider]?.keepIdToken !== true) return
      if (idToken.length > MAX_ID_TOKEN_LENGTH) return
      const key = idTokenKey(origin)
      await store.set(key, await cipher.seal(idToken, [key]), sessionMs)
    },
    async logoutUrlOf(origin, returnTo) {
      const { provider: name } = origin
      if (!Object.hasOwn(providers, name)) return null
      const { postLogoutRedirectUri, keepIdToken } = providers[name]!
      try {
        const configuration = await discovery.configurationOf(name)
        const { buildEndSessionUrl } = await loadClient()
        const idToken = keepIdToken ? await takeIdToken(origin) : null
        // The library adds the id of the client, and refuses an endpoint that is no HTTPS URL.
        const url = buildEndSessionUrl(configuration, {
          ...(idToken === null ? undefined : { id_token_hint: idToken }),
          ...(postLogoutRedirectUri === undefined
            ? undefined
            : { post_logout_redirect_uri: postLogoutRedirectUri, state: stateOf(returnTo) }),
        })
        return url.href
      } catch {
        return null
      }
    },
    pathOf(state) {
      const [time = '', path = '', tag = ''] = (state ?? '').split('.')
      const isOwn = stateKeys.some((key) => secretsEqual(tagOf(key, `${time}.${path}`), tag))
      if (!isOwn || Number.parseInt(time, 36) + LOGIN_LIFETIME_MS <= now()) return '/'
      const returnTo = Buffer.from(path, 'base64url').toString()
      return isLocalPath(returnTo) ? returnTo : '/'
    },
  }
}

function tagOf(key: Buffer, body: string): string {
  return createHmac('sha256', key).update(body).digest('base64url')
}

/** The id follows from the secret, so that a rotation changes no id. */
function cipherKeyOf(secret: string): CipherKey {
  const id = deriveKey(secret, 'oidc id token key id').readUInt32BE(0)
  return { id: Math.max(1, id), secret: deriveKey(secret, 'oidc id token') }
}

/** By the login, which outlives changes of the session's id. */
function idTokenKey({ provider, subject, sid, issuedAt }: SessionOrigin): string {
  const text = JSON.stringify([provider, subject, sid, issuedAt])
  return `sessions:oidc:id-token:${createHash('sha256').update(text).digest('base64url')}`
}
