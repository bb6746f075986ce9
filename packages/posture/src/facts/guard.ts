/** Whether a route asks who the client is: by what it answered, what is declared, and its hooks. */
import { plainOf, type Facts } from './facts.ts'
import { isRefusal, isSuccess } from './reply.ts'
import type { Piece, RouteFacts } from './route.ts'

/** What is known about a route. */
export interface Guard {
  readonly state: 'guarded' | 'public' | 'open' | 'unknown'
  readonly evidence: string
}

/** Names of functions that check who the client is. */
const NAME =
  /auth(?!or\b)|jwt|protect|require(?:User|Login|Session|Role|Admin)|ensure(?:User|Login|Logged)|verify(?!Schema)|guard|logged.?in|check(?:User|Session|Token|Role|Api)|permission|principal|^only|isAdmin|acl|rbac|bearer/i
/** What such functions do. */
const TEXT =
  /jwtVerify|jwt\.verify|\bverify(?:Token|Jwt|Bearer|Session|Access)|\b401\b|unauthori[sz]ed|unauthenticated|basicAuth|bearerAuth|isAuthenticated|timingSafeEqual|x-api-key|\bapi_?key\b|request\.principal|req\.principal/i
/** How a function ends a request, or leaves that to another one. */
const ENDING =
  /\bthrow\b|\b(?:reply|res|response)\.|40[13]|verify|\b(?:done|next|cb)\(|reject|error|await/i
/** Also what a handler does that answers by session. */
const HANDLER_TEXT =
  /jwtVerify|jwt\.verify|verify(?:Token|Jwt|Bearer|Session|Access)|\b401\b|unauthori[sz]ed|unauthenticated|isAuthenticated|session\.(?:get\(|user|userId|uid)|(?:request|req)\.(?:user|principal)\b|x-api-key/i
/** Decides from the address which requests to check. */
const BY_PATH =
  /(?:request|req)\.(?:url|raw\.url|routeOptions|routerPath|originalUrl)|\bconfig\??\.|includes\(|startsWith\(/

/** What NestJS puts around a method of a controller: it runs the guards within the handler. */
const NEST = /exceptionsHandler\.next\(|\btargetCallback\(/

/** The guards of all routes, by name of the route. */
export function readGuards(facts: Facts): ReadonlyMap<string, Guard> {
  // Hooks of a route that answered an anonymous client do not refuse anonymous clients.
  const harmless = new Set<unknown>()
  for (const route of facts.routes) {
    const reply = plainOf(facts, route)?.reply
    if (reply === undefined || !isSuccess(reply)) continue
    for (const { identity } of route.hooks) harmless.add(identity)
  }
  return new Map(facts.routes.map((route) => [route.name, guardOf(facts, route, harmless)]))
}

function guardOf(facts: Facts, route: RouteFacts, harmless: ReadonlySet<unknown>): Guard {
  const row = facts.plugins.matrix?.find(
    ({ method, url }) => method.split(',').includes(route.method) && url === route.url,
  )
  if (row !== undefined) {
    const isOpen = row.anonymous === 'allow'
    return { state: isOpen ? 'public' : 'guarded', evidence: `rbac: ${row.rule}` }
  }
  if (facts.isDeclaredPublic(route)) return { state: 'public', evidence: 'declared public' }
  const seen = observe(facts, route)
  if (seen !== undefined) return seen
  if (facts.target === 'site') return { state: 'unknown', evidence: 'no answer that tells' }
  return readHooks(route, harmless)
}

/** What an anonymous request got: on a state-changing route only with `active`. */
function observe(facts: Facts, route: RouteFacts): Guard | undefined {
  const active = facts.exchanges.find(
    ({ kind, route: name }) => kind === 'active' && name === route.name,
  )
  const reply = (plainOf(facts, route) ?? active)?.reply
  if (reply === undefined) return undefined
  const evidence = `an anonymous ${route.method} got ${reply.status}`
  if (isRefusal(reply)) return { state: 'guarded', evidence }
  return isSuccess(reply) ? { state: 'open', evidence } : undefined
}

function readHooks(route: RouteFacts, harmless: ReadonlySet<unknown>): Guard {
  const checking = route.hooks.filter(checksClient)
  const own = checking.find(({ identity }) => !harmless.has(identity))
  if (own !== undefined) {
    return { state: 'guarded', evidence: `its ${own.stage} ${labelOf(own)} checks the client` }
  }
  const byPath = checking.find(({ text }) => BY_PATH.test(text))
  if (byPath !== undefined) {
    const evidence = `the ${byPath.stage} ${labelOf(byPath)} decides by the address`
    return { state: 'unknown', evidence }
  }
  if (HANDLER_TEXT.test(route.handler?.text ?? '')) {
    return { state: 'guarded', evidence: 'its handler checks the client' }
  }
  const isHidden = route.hooks.some(
    ({ text, identity }) => !harmless.has(identity) && isNative(text),
  )
  if (isHidden) return { state: 'unknown', evidence: 'it has a hook whose source cannot be read' }
  if (NEST.test(route.handler?.text ?? '')) {
    return { state: 'unknown', evidence: 'NestJS runs its guards within the handler' }
  }
  return { state: 'open', evidence: 'none of its hooks checks the client' }
}

function checksClient({ name, text }: Piece): boolean {
  // A name is no evidence where the function has no way to end a request, as one that only logs.
  return TEXT.test(text) || (NAME.test(name) && (isNative(text) || ENDING.test(text)))
}

function isNative(text: string): boolean {
  return text === '' || /\{\s*\[native code\]\s*\}$/.test(text)
}

function labelOf({ name }: Piece): string {
  return name === '' ? 'hook' : `hook "${name.replace(/^bound /, '')}"`
}
