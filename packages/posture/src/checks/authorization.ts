/** Checks of authorization and rate limits. */
import { trustsEveryProxy } from '@parapet/kit'
import { hitsOf, repliesOf, type Facts } from '../facts/facts.ts'
import { readGuards } from '../facts/guard.ts'
import { headerOf, isRefusal, isSuccess } from '../facts/reply.ts'
import {
  checksCredential,
  hasSchema,
  isAdministrative,
  textOf,
  type RouteFacts,
} from '../facts/route.ts'
import { propertiesOf } from '../probe/urls.ts'
import {
  counted,
  fail,
  failOr,
  faultsOf,
  listed,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'

type Check = (facts: Facts) => Outcome

const ROLE =
  /\broles?\b|permission|isAdmin|requireAdmin|onlyAdmin|scopes?\b|ability|casl|casbin|rbac|\bacl\b|\bcan\(|(?<!un)authoriz/i
const OWNER =
  /(?:request|req)\.(?:user|principal|session|account|auth)\b|\bowner|userId|user_id|tenant|createdBy|accountId|\.sub\b/i

const namesOf = (routes: readonly RouteFacts[]) => listed(routes.map(({ name }) => name))

function guardedRoutes(facts: Facts): RouteFacts[] {
  const guards = readGuards(facts)
  return facts.routes.filter(({ name }) => guards.get(name)?.state === 'guarded')
}

const checkRules: Check = (facts) => {
  const { matrix } = facts.plugins
  const guarded = guardedRoutes(facts)
  if (guarded.length === 0) return notApplicable('no route is behind a login')
  if (matrix !== undefined)
    return pass(`rbac has a rule for each of ${counted(matrix.length, 'route')}`)
  const bare = guarded.filter((route) => !ROLE.test(textOf(route)) && !OWNER.test(textOf(route)))
  return bare.length === 0
    ? pass('hooks or handlers of every guarded route read roles or owners')
    : manual(`every client with a login reaches ${namesOf(bare)}: is that right?`)
}

const checkAdministration: Check = (facts) => {
  const routes = facts.routes.filter(isAdministrative)
  if (routes.length === 0) return notApplicable('no path looks administrative')
  const guards = readGuards(facts)
  const roles = repliesOf(facts, 'role').filter(
    ({ note }) => !/admin|root|super|owner|operator|audit|metric|monitor/i.test(note ?? ''),
  )
  const faults = routes.flatMap((route): Fault[] => {
    const guard = guards.get(route.name)
    if (guard?.state === 'open') return [{ where: route.name, evidence: guard.evidence }]
    const seen = roles.find(({ route: name, reply }) => name === route.name && isSuccess(reply))
    if (seen !== undefined)
      return [{ where: route.name, evidence: `the role "${seen.note}" got ${seen.reply.status}` }]
    const isMeasured =
      facts.plugins.matrix !== undefined || guard?.state === 'public' || roles.length > 0
    const needsRole = isMeasured || facts.target === 'site' || ROLE.test(textOf(route))
    return needsRole ? [] : [{ where: route.name, evidence: 'asks for a login, and for no role' }]
  })
  return failOr(faults, pass(`${namesOf(routes)}: closed to anonymous clients and other roles`))
}

const PERSONAL =
  /(?:^|\/)(?:users?|accounts?|orders?|invoices?|payments?|profiles?|messages?|documents?|files?|patients?|customers?|tickets?|notes?|todos?|bookings?|addresses|cards?|wallets?|subscriptions?)(?:\/|$)/i

/** A handler that passes the request on may leave the question to another function. */
function findsItself(text: string): boolean {
  return /params/.test(text) && !/[\w$]\(\s*(?:req|request)\s*[,)]/.test(text)
}

function readsOwner(route: RouteFacts): boolean {
  return (
    OWNER.test(route.handler?.text ?? '') ||
    route.hooks.some(({ text }) => ROLE.test(text) || /\bowner/i.test(text))
  )
}

const checkOwners: Check = (facts) => {
  const routes = guardedRoutes(facts).filter(({ url }) => /:\w*/.test(url))
  if (routes.length === 0) return notApplicable('no guarded route names an object')
  if (facts.plugins.matrix !== undefined) {
    return pass('rbac decides on each route; review conditions on owners with "app.rbac.matrix()"')
  }
  const bare = routes.filter((route) => !readsOwner(route) && !ROLE.test(route.handler?.text ?? ''))
  const faults = bare
    .filter(({ url, handler }) => PERSONAL.test(url) && findsItself(handler?.text ?? ''))
    .map(({ name }) => ({
      where: name,
      evidence: 'finds an object by its id, and reads neither owner nor role',
    }))
  if (faults.length > 0) return fail(faults)
  return bare.length === 0
    ? pass('handlers read the owner or the role')
    : manual(`check whose objects ${namesOf(bare)} return`)
}

const PRIVILEGE =
  /^(?:roles?|is_?admin|admin|permissions?|scopes?|balance|credit|owner_?id|tenant_?id|verified|email_?verified|is_?staff|is_?active)$/i

const checkAssignment: Check = (facts) => {
  const changing = facts.routes.filter(({ isSafe }) => !isSafe)
  if (changing.length === 0) return notApplicable('no route changes state')
  const hits = hitsOf(facts, 'mass-assignment')
  const faults = changing.flatMap((route): Fault[] => {
    const { body } = route.schema
    const isClosed = hasSchema(body) && body['additionalProperties'] === false
    const isAdmin =
      isAdministrative(route) ||
      ROLE.test(route.hooks.map(({ text }) => text).join('\n')) ||
      facts.plugins.matrix !== undefined
    const named = Object.keys(propertiesOf(body)).filter((name) => PRIVILEGE.test(name))
    if (named.length > 0 && !isAdmin)
      return [{ where: route.name, evidence: `its body accepts ${named.join(', ')}` }]
    const hit = hits.find(({ file, certainty }) => file === route.name && certainty === 'sure')
    return hit === undefined || isClosed
      ? []
      : [{ where: route.name, evidence: hit.excerpt, key: route.name }]
  })
  return failOr(
    faults,
    pass(`${counted(changing.length, 'state-changing route')}: none takes privileges from a body`),
  )
}

const checkSpellings: Check = (facts) => {
  const tried = repliesOf(facts, 'spelling', 'head')
  if (tried.length === 0) return notApplicable('no reading route refuses anonymous clients')
  const faults = tried
    .filter(({ reply }) => isSuccess(reply))
    .map(({ route, request, reply }) => ({
      where: route,
      evidence: `${request.method} ${request.url} got ${reply.status}`,
    }))
  return failOr(faults, pass(`${counted(tried.length, 'other spelling')} and methods refused`))
}

const checkMatrix: Check = (facts) => {
  const { matrix } = facts.plugins
  const seen = repliesOf(facts, 'role')
  if (seen.length > 0) {
    const lines = facts.roles.map((role) => {
      const own = seen.filter(({ note }) => note === role)
      return `${role}: ${own.filter(({ reply }) => !isRefusal(reply)).length} of ${own.length} routes`
    })
    return manual(`compare with your policy: ${lines.join('; ')} (all in the JSON report)`)
  }
  if (matrix !== undefined) {
    const roles = Object.keys(matrix[0]?.roles ?? {})
    return pass(
      `${counted(matrix.length, 'route')} × ${counted(roles.length, 'role')} from rbac, which denies by default`,
    )
  }
  if (guardedRoutes(facts).length === 0) return notApplicable('no route is behind a login')
  return manual('give the headers of each role under "roles" to measure the matrix')
}

const LIMIT = /rate.?limit|throttle|too ?many ?requests|\b429\b|timeWindow/i

function isLimited(facts: Facts, route: RouteFacts): boolean {
  const replies = facts.exchanges.filter(
    ({ route: name, reply }) => name === route.name && reply !== undefined,
  )
  const shows = replies.some(
    ({ reply }) =>
      reply!.status === 429 ||
      ['x-ratelimit-limit', 'ratelimit', 'ratelimit-limit', 'ratelimit-policy'].some(
        (name) => headerOf(reply!, name) !== '',
      ),
  )
  return shows || route.hooks.some(({ name, text }) => LIMIT.test(name) || LIMIT.test(text))
}

const EXEMPT = /^\/(?:health|live|ready|ping|status|metrics)/i

const checkLimits: Check = (facts) => {
  if (facts.plugins.names.has('rateLimits'))
    return pass('rate-limits requires tiers of every route')
  const routes = facts.routes.filter(({ url, method }) => !EXEMPT.test(url) && method !== 'OPTIONS')
  if (routes.length === 0) return manual('no route is known')
  const bare = routes.filter((route) => !isLimited(facts, route))
  if (facts.target === 'site' && bare.length > 0)
    return manual('no response shows a limit: find out whether there is one')
  if (bare.length === routes.length)
    return fail([
      {
        where: 'every route',
        evidence: `none of ${routes.length} routes has a limiter`,
        key: 'all',
      },
    ])
  return failOr(
    bare.map(({ name }) => ({ where: name, evidence: 'has no limiter' })),
    pass(`${counted(routes.length, 'route')}: responses or hooks show a limiter`),
  )
}

const MOST_ATTEMPTS = 30

const checkCredentialLimits: Check = (facts) => {
  const routes = facts.routes.filter(
    (route) => checksCredential(route) && !/refresh/i.test(route.url),
  )
  if (routes.length === 0) return notApplicable('no route checks a credential')
  if (facts.plugins.names.has('rateLimits')) return pass('rate-limits has tiers for credentials')
  if (facts.target === 'site') return manual('try 30 wrong passwords: a limiter must answer 429')
  const general = usualLimit(facts)
  const faults = routes.flatMap((route): Fault[] => {
    const config = route.config['rateLimit'] as { readonly max?: unknown } | false | undefined
    if (config === false) return [{ where: route.name, evidence: 'config.rateLimit is false' }]
    if (!isLimited(facts, route)) return [{ where: route.name, evidence: 'has no limiter' }]
    const max = typeof config?.max === 'number' ? config.max : general
    return max !== undefined && max > MOST_ATTEMPTS
      ? [{ where: route.name, evidence: `allows ${max} attempts in a window` }]
      : []
  })
  return failOr(faults, pass(`${namesOf(routes)}: at most ${MOST_ATTEMPTS} attempts in a window`))
}

/** The limit that responses of other routes show. */
function usualLimit(facts: Facts): number | undefined {
  const shown = repliesOf(facts, 'plain', 'unknown')
    .map(({ reply }) => headerOf(reply, 'x-ratelimit-limit') || headerOf(reply, 'ratelimit-limit'))
    .filter((each) => /^\d+/.test(each))
    .map(Number.parseFloat)
  return shown.length === 0 ? undefined : Math.min(...shown)
}

const checkAddress: Check = (facts) => {
  const { server } = facts
  const faults = faultsOf(hitsOf(facts, 'forwarded-header'))
  const trusted = server?.trustProxy
  if (trustsEveryProxy(trusted))
    faults.unshift({
      where: 'trustProxy',
      evidence: 'trusts everybody: every client can choose its address',
    })
  if (faults.length > 0) return fail(faults)
  if (server === undefined)
    return manual('send a forged X-Forwarded-For through your proxy, and look at the log')
  return pass(
    trusted === undefined || trusted === false ? 'trustProxy is off' : 'trustProxy names proxies',
  )
}

/** Checks of authorization and rate limits by the id of the line. */
export const authorizationChecks: Readonly<Record<string, Check>> = {
  'AZN-01': checkRules,
  'AZN-02': checkAdministration,
  'AZN-03': checkOwners,
  'AZN-04': checkAssignment,
  'AZN-05': checkSpellings,
  'AZN-06': checkMatrix,
  'RAT-01': checkLimits,
  'RAT-02': checkCredentialLimits,
  'RAT-03': checkAddress,
}
