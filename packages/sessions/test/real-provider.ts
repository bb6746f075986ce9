/** A real OpenID provider on loopback, and a browser that visits it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Provider, type ClientMetadata } from 'oidc-provider'
import type { Test } from 'tap'

export const redirectUri = 'http://127.0.0.1:9/auth/oidc/acme/callback'
export const clientSecret = 'a client secret that is long enough for a test'
export const loggedOutUri = 'http://127.0.0.1:9/auth/oidc/acme/logged-out'
export const logoutUri = 'https://api.example.com/auth/oidc/acme/backchannel-logout'
export const level = 'urn:example:strong'

const groups: Record<string, string[]> = { alice: ['staff', 'admins', 'constructor'], mallory: [] }

export interface RealProvider {
  readonly issuer: string
  /** The bodies of the requests to `logoutUri`. */
  readonly reports: string[]
  /** Makes the provider report a logout to the client. */
  readonly reportLogout: (subject: string, sid?: string) => Promise<void>
  readonly server: Server
  /** Who logs in at the provider next. */
  account: string
  /** The level of that login. */
  acr: string | undefined
  /** The prompts that were shown, in their order. */
  readonly prompts: string[]
}

/**
 * A provider that logs in `account` without a form; with `login_hint` `nobody` it refuses.
 *
 * @param isConform leaves the claims about the user to the userinfo endpoint.
 * @param claims of the scope `openid`.
 */
export async function startProvider(
  t: Test,
  client: Partial<ClientMetadata> = {},
  { isConform = false, claims = ['sub', 'groups', 'auth_time', 'amr', 'acr'] } = {},
): Promise<RealProvider> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const reports: string[] = []
  const own = { client_id: 'app', client_secret: clientSecret, redirect_uris: [redirectUri] }
  const settings = { isConform, claims, reports }
  const provider = createProvider(issuer, { ...own, ...client }, settings)
  const real: RealProvider = {
    issuer,
    server,
    account: 'alice',
    acr: undefined,
    prompts: [],
    reports,
    async reportLogout(subject, sid) {
      const app = await provider.Client.find('app')
      await (app as unknown as Reporter).backchannelLogout(subject, sid)
    },
  }
  const answer = provider.callback()
  server.on('request', (request, response) => {
    if (request.url!.startsWith('/interaction/')) void interact(provider, real, request, response)
    else void answer(request, response)
  })
  return real
}

/** A method of clients that the types of the provider do not list. */
interface Reporter {
  backchannelLogout(subject: string, sid?: string): Promise<void>
}

function createProvider(
  issuer: string,
  client: ClientMetadata,
  {
    isConform,
    claims,
    reports,
  }: { readonly isConform: boolean; readonly claims: string[]; readonly reports: string[] },
): Provider {
  return new Provider(issuer, {
    clients: [client],
    acrValues: [level],
    claims: {
      openid: claims,
      email: ['email', 'email_verified'],
      profile: [],
    },
    conformIdTokenClaims: isConform,
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    cookies: { keys: ['a key for the cookies of the test'] },
    pkce: { required: () => true },
    // The provider itself sends nothing to addresses of this machine.
    fetch: async (url, options) => {
      const { url: address, body } = new Request(url, options)
      if (address !== logoutUri || body === null) throw new Error(`a call of ${address}`)
      reports.push(await text(body))
      return new Response()
    },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        groups: groups[id] ?? [],
        email: `${id}@example.com`,
        email_verified: true,
      }),
    }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  })
}

async function interact(
  provider: Provider,
  real: RealProvider,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(incoming, response)
  real.prompts.push(prompt.name)
  if (params['login_hint'] === 'nobody') {
    return provider.interactionFinished(incoming, response, { error: 'access_denied' })
  }
  if (prompt.name === 'login') {
    const { account: accountId, acr } = real
    const login = { accountId, amr: ['pwd', 'otp'], ...(acr === undefined ? {} : { acr }) }
    return provider.interactionFinished(incoming, response, { login })
  }
  const grant = new provider.Grant({ accountId: session!.accountId, clientId: 'app' })
  grant.addOIDCScope('openid profile email')
  return provider.interactionFinished(incoming, response, {
    consent: { grantId: await grant.save() },
  })
}

/** The cookies of one browser at the provider. */
export type Jar = Map<string, string>

/** A browser that logs out at the provider and confirms. @returns where it is sent, or the last page. */
export async function logOutAt(url: string, jar: Jar): Promise<URL | string> {
  const page = await (await request(url, jar)).text()
  const [, action] = /action="([^"]+)"/.exec(page) ?? []
  const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(page) ?? []
  if (action === undefined || xsrf === undefined) return page
  const body = new URLSearchParams({ xsrf, logout: 'yes' })
  let reply = await request(action, jar, { method: 'POST', body })
  for (let hop = 0; hop < 5 && reply.status !== 200; hop++) {
    const next = new URL(reply.headers.get('location') ?? '', url)
    if (next.href.startsWith(loggedOutUri)) return next
    reply = await request(next.href, jar)
  }
  return reply.text()
}

/** One request of a browser with its cookies. */
async function request(url: string, jar: Jar, init: RequestInit = {}): Promise<Response> {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const reply = await fetch(url, { ...init, redirect: 'manual', headers: { cookie } })
  for (const line of reply.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
    jar.set(name!, value!)
  }
  return reply
}

/** A browser at the provider: follows redirects, with cookies, until it is sent back to the service. */
export async function comeBack(url: string, jar: Jar = new Map()): Promise<URL> {
  const back = await visit(url, jar)
  if (back instanceof URL) return back
  throw new Error('the provider sent a form')
}

/** As {@link comeBack}, where the provider answers with a form that a script sends. */
export async function comeBackWithForm(
  url: string,
  jar: Jar = new Map(),
): Promise<URLSearchParams> {
  const form = await visit(url, jar)
  if (form instanceof URLSearchParams) return form
  throw new Error('the provider sent no form')
}

async function visit(url: string, jar: Jar): Promise<URL | URLSearchParams> {
  for (let hop = 0; hop < 10; hop++) {
    const reply = await request(url, jar)
    if (reply.status === 200) return formOf(await reply.text())
    const next = new URL(reply.headers.get('location') ?? '', url)
    if (next.href.startsWith(redirectUri)) return next
    url = next.href
  }
  throw new Error('the provider did not send the browser back')
}

function formOf(page: string): URLSearchParams {
  if (!page.includes(`action="${redirectUri}"`)) throw new Error(page)
  const fields = page.matchAll(/name="([^"]+)" value="([^"]*)"/g)
  const form = new URLSearchParams()
  for (const [, name, value] of fields) form.append(name!, value!)
  return form
}
