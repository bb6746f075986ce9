/** What the tests of links, step-ups and logouts at a provider share: a service, and a browser with cookies. */
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  sessions,
  type OidcProviderOptions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { baseOptions } from './build.ts'
import { clientSecret, comeBack, redirectUri, type Jar } from './real-provider.ts'

/** The roles of every user are these. */
const roles = ['reader']

export async function buildService(
  t: Test,
  provider: Partial<OidcProviderOptions> & { readonly issuer: string },
  more: Partial<SessionsOptions> = {},
) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock(Date.now())
  const acme = {
    clientId: 'app',
    clientSecret,
    redirectUri,
    [allowInsecureProvider]: true,
  } as const
  await app.register(sessions, {
    ...baseOptions,
    clock,
    prefix: '/auth',
    cookies: {},
    findUser: async (id) => ({ id, roles }),
    credentials: async ({ login }) => ({ id: login, roles }),
    oidc: { acme: { ...acme, ...provider } },
    ...more,
  })
  app.get('/me', async ({ principal }) => principal)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, clock, events }
}

/** A browser: its cookies here and at the provider. */
export class Browser {
  readonly #app: FastifyInstance
  readonly cookies: Record<string, string> = {}
  readonly jar: Jar = new Map()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  /** A request of a page of this service. */
  async send(method: 'GET' | 'POST' | 'DELETE', url: string, body?: object) {
    const headers = { 'sec-fetch-site': 'same-origin' }
    return this.#keep(
      await this.#app.inject({
        method,
        url,
        headers,
        cookies: this.cookies,
        ...(body && { body }),
      }),
    )
  }

  /** The provider sends the browser back. */
  async land(back: URL): Promise<LightMyRequestResponse> {
    const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
    const url = back.pathname + back.search
    return this.#keep(await this.#app.inject({ url, headers, cookies: this.cookies }))
  }

  async logIn(login: string): Promise<void> {
    await this.send('POST', '/auth/login', { login, password: 'x' })
  }

  /** Logs in at the provider. */
  async signOn(): Promise<LightMyRequestResponse> {
    const start = await this.send('GET', '/auth/oidc/acme')
    return this.land(await comeBack(String(start.headers.location), this.jar))
  }

  /** Goes to a provider and back. @param url the route that answers with the URL. */
  async visit(url: string): Promise<LightMyRequestResponse> {
    const start = await this.send('POST', url, { returnTo: '/settings' })
    if (start.statusCode !== 200) return start
    return this.land(await comeBack(start.json<{ url: string }>().url, this.jar))
  }

  /** Who the service says that it is. */
  async me(): Promise<{ id: string; amr: string[]; authenticatedAt: number; sessionId: string }> {
    return (await this.send('GET', '/me')).json()
  }

  #keep(reply: LightMyRequestResponse): LightMyRequestResponse {
    for (const { name, value, maxAge } of reply.cookies) {
      if (value === '' || maxAge === 0) delete this.cookies[name]
      else this.cookies[name] = value
    }
    return reply
  }
}
