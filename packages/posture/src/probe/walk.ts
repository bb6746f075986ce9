/** Sends the probes: over every route, and the ones that belong to no route. */
import type { Exchange, ProbeKind, ProbeRequest, Reply, Send } from '../facts/reply.ts'
import { isRefusal } from '../facts/reply.ts'
import type { RouteFacts } from '../facts/route.ts'
import { createGuessedToken, createUnsignedTokens, triedWords } from './forged-tokens.ts'
import {
  ATTACKER,
  ELSEWHERE,
  FILES,
  HIDDEN_FILES,
  MARKUP,
  PAGES,
  QUOTE,
  TRAVERSAL,
  UNKNOWN,
} from './probe-values.ts'
import { createBody, queryNamesOf, spellingsOf, urlOf } from './urls.ts'

/** What {@link walk} takes. */
export interface WalkSettings {
  readonly routes: readonly RouteFacts[]
  readonly send: Send
  /** Sent with every request: what a proxy would add. */
  readonly headers: Readonly<Record<string, string>>
  readonly roles: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly isActive: boolean
  /** The total time in milliseconds; what is left then is not sent. */
  readonly budgetMs: number
  readonly now: () => number
  readonly onRoute: (done: number, all: number, name: string) => void
}

/** What came back, and the routes that were not reached. */
export interface Walked {
  readonly exchanges: readonly Exchange[]
  readonly unreached: readonly string[]
}

const CONCURRENCY = 4
const GUESSED_ROUTES = 3
const SAMPLED_ROUTES = 10

type Ask = (
  kind: ProbeKind,
  request: { readonly url: string } & Partial<ProbeRequest>,
  note?: string,
) => Promise<Reply | undefined>

/** Sends everything. Safe methods only, unless `isActive`. */
export async function walk(settings: WalkSettings): Promise<Walked> {
  const { send, headers, now, budgetMs, onRoute } = settings
  const exchanges: Exchange[] = []
  const unreached: string[] = []
  const end = now() + budgetMs
  const askAs =
    (route: string): Ask =>
    async (kind, request, note) => {
      const sent = { method: 'GET', ...request, headers: { ...headers, ...request.headers } }
      const reply = await send(sent)
      exchanges.push({ kind, route, request: sent, reply, ...(note === undefined ? {} : { note }) })
      return reply
    }
  await askWithoutRoute(askAs)
  const routes = settings.routes.filter(({ method, isSafe }) => method === 'GET' || !isSafe)
  const guesses = { left: GUESSED_ROUTES }
  let done = 0
  await inParallel(routes, async (route, index) => {
    onRoute(++done, routes.length, route.name)
    if (now() > end) {
      unreached.push(route.name)
      return
    }
    const ask = askAs(route.name)
    if (route.isSafe) await askRoute(ask, route, settings, index < SAMPLED_ROUTES, guesses)
    else if (settings.isActive) await changeRoute(ask, route, settings)
  })
  return { exchanges, unreached }
}

async function askWithoutRoute(askAs: (route: string) => Ask): Promise<void> {
  await askAs(`GET ${UNKNOWN}`)('unknown', { url: UNKNOWN })
  for (const url of ['/%zz', '/posture?a=%', `/posture-unknown-4f1c9a?${'a'.repeat(200)}`]) {
    await askAs('GET /%zz')('malformed', { url })
  }
  await askAs('GET /posture')('markup', { url: `/posture-unknown/${encodeURIComponent(MARKUP)}` })
  await askAs('TRACE /')('trace', {
    url: '/',
    method: 'TRACE',
    headers: { 'x-posture-probe': 'echo' },
  })
  for (const url of FILES) await askAs(`GET ${url}`)('file', { url })
  for (const url of PAGES) await askAs(`GET ${url.split('?')[0]}`)('page', { url })
}

async function askRoute(
  ask: Ask,
  route: RouteFacts,
  { roles, now }: WalkSettings,
  isSampled: boolean,
  guesses: { left: number },
): Promise<void> {
  const url = urlOf(route)
  const plain = await ask('plain', { url })
  // A route that does not answer one request will not answer ten.
  if (plain === undefined) return
  await ask('origin', { url, headers: { origin: ATTACKER } })
  if (isSampled) {
    await ask('null-origin', { url, headers: { origin: 'null' } })
    await ask('preflight', {
      method: 'OPTIONS',
      url,
      headers: { origin: ATTACKER, 'access-control-request-method': 'DELETE' },
    })
  }
  const text = route.handler?.text ?? ''
  await ask('markup', { url: urlOf(route, { path: MARKUP, query: MARKUP }) })
  await ask('quote', { url: urlOf(route, { path: QUOTE, query: QUOTE }) })
  const takesPath =
    route.url.includes('*') || /readFile|createReadStream|sendFile|download|\bjoin\(/.test(text)
  if (takesPath)
    await ask('traversal', { url: urlOf(route, { path: TRAVERSAL, query: TRAVERSAL }) })
  // `/` below a wildcard at the root was asked for already.
  if (/[^/]\/\*?$/.test(route.url)) {
    const [folder = ''] = urlOf({ ...route, url: route.url.replace(/\*$/, '') }).split('?')
    for (const name of HIDDEN_FILES) await ask('file', { url: `${folder}${name}` })
  }
  const redirects =
    /redirect|location/i.test(text) ||
    queryNamesOf(route).some((name) =>
      /^(?:next|url|to|return|redirect|dest|goto|continue)/i.test(name),
    )
  if (redirects) await ask('redirect', { url: urlOf(route, { path: ELSEWHERE, query: ELSEWHERE }) })
  if (isRefusal(plain)) await askOtherWays(ask, url)
  // An app that expects a token may answer one that is missing with 400 or 500.
  if (isRefusal(plain) || plain.status === 400 || plain.status >= 500)
    await forgeTokens(ask, url, now(), guesses)
  for (const [role, headers] of Object.entries(roles)) await ask('role', { url, headers }, role)
}

/** A route that refused: its other methods and spellings. */
async function askOtherWays(ask: Ask, url: string): Promise<void> {
  await ask('head', { url, method: 'HEAD' })
  for (const spelling of spellingsOf(url)) await ask('spelling', { url: spelling })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** Tokens that nobody has issued. */
async function forgeTokens(
  ask: Ask,
  url: string,
  now: number,
  guesses: { left: number },
): Promise<void> {
  for (const token of createUnsignedTokens(now)) {
    await ask(
      'unsigned-token',
      { url, headers: bearer(token) },
      token.endsWith('.') ? 'none' : 'random',
    )
  }
  if (guesses.left <= 0) return
  guesses.left--
  for (const word of triedWords) {
    const headers = bearer(createGuessedToken(word, now))
    const reply = await ask('guessed-token', { url, headers }, word)
    if (reply !== undefined && !isRefusal(reply)) return
  }
}

/** Sends a state-changing request, as an anonymous client, broken, and from another site. */
async function changeRoute(ask: Ask, route: RouteFacts, { roles }: WalkSettings): Promise<void> {
  const { method } = route
  const url = urlOf(route)
  const json = { 'content-type': 'application/json' }
  const body = JSON.stringify(createBody(route.schema.body))
  const sends = method === 'DELETE' ? {} : { headers: json, body }
  await ask('active', { method, url, ...sends })
  if (method !== 'DELETE') await ask('active-broken', { method, url, headers: json, body: '{"a":' })
  for (const [role, headers] of Object.entries(roles)) {
    const sent = { ...headers, ...sends.headers }
    await ask('role', { method, url, ...sends, headers: sent }, role)
    if (!Object.keys(headers).some((name) => name.toLowerCase() === 'cookie')) continue
    const foreign = {
      ...sent,
      origin: ATTACKER,
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'cors',
    }
    await ask('active-cross-site', { method, url, ...sends, headers: foreign }, role)
  }
}

async function inParallel<T>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries()
  const run = async (): Promise<void> => {
    for (const [index, item] of queue) await work(item, index)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, run))
}
