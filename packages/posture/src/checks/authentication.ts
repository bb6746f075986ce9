/** Checks of authentication. */
import { hitsOf, repliesOf, type Facts } from '../facts/facts.ts'
import { readGuards, type Guard } from '../facts/guard.ts'
import { isSuccess } from '../facts/reply.ts'
import { checksCredential, textOf, type RouteFacts } from '../facts/route.ts'
import { lifetimeOf } from '../probe/forged-tokens.ts'
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
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

const SECONDS_A_DAY = 86_400

function judgeGuards(
  facts: Facts,
  routes: readonly RouteFacts[],
  guards: ReadonlyMap<string, Guard>,
  what: string,
): Outcome {
  if (routes.length === 0) return notApplicable(`there is no ${what} route`)
  const of = (state: Guard['state']) =>
    routes.filter(({ name }) => guards.get(name)?.state === state)
  const faults = of('open').map(({ name }) => ({
    where: name,
    evidence: guards.get(name)!.evidence,
  }))
  if (faults.length > 0) return fail(faults)
  const unknown = of('unknown')
  if (unknown.length > 0) {
    const { name } = unknown[0]!
    const hint = facts.isActive ? 'give headers under "roles"' : 'run with --active on a copy'
    return manual(
      `${listed(unknown.map((each) => each.name))}: ${guards.get(name)!.evidence}; ${hint}`,
    )
  }
  const open = of('public').map(({ name }) => name)
  const declared = open.length === 0 ? '' : `; public: ${listed(open)}`
  return pass(`${counted(of('guarded').length, `${what} route`)} checked the client${declared}`)
}

const checkChanging: Check = (facts) =>
  judgeGuards(
    facts,
    facts.routes.filter(({ isSafe }) => !isSafe),
    readGuards(facts),
    'state-changing',
  )

const checkReading: Check = (facts) =>
  judgeGuards(
    facts,
    facts.routes.filter(({ method }) => method === 'GET'),
    readGuards(facts),
    'reading',
  )

const checkSignatures: Check = (facts) => {
  const tried = repliesOf(facts, 'unsigned-token')
  const faults: Fault[] = tried
    .filter(({ reply }) => isSuccess(reply))
    .map(({ route, note, reply }) => ({
      where: route,
      evidence: `a token with ${note === 'none' ? '"alg": "none"' : 'a random signature'} got ${reply.status}`,
    }))
  const found = faultsOf(hitsOf(facts, 'unverified-token'))
  if (faults.length + found.length > 0) return fail([...faults, ...found])
  if (tried.length === 0) return notApplicable('no reading route refuses anonymous clients')
  return pass(`${counted(tried.length, 'forged token')} refused`)
}

const checkKeys: Check = (facts) => {
  const { guessedKey, token } = facts.plugins
  const tried = repliesOf(facts, 'guessed-token')
  const accepted = tried.filter(({ reply }) => isSuccess(reply))
  const faults = accepted.map(({ route }) => ({
    where: route,
    evidence: 'a token signed with a word of tutorials was accepted',
  }))
  if (guessedKey !== undefined) {
    faults.push({
      where: 'app.jwt',
      evidence: `its tokens are signed with a guessed word of ${guessedKey.length} characters`,
    })
  }
  if (faults.length > 0) return fail(faults)
  if (token !== undefined) return pass('no guessed word signed a token of app.jwt')
  if (facts.plugins.names.has('sessions')) return pass('sessions refuses keys that can be guessed')
  return tried.length > 0
    ? pass(`${counted(tried.length, 'token')} signed with guessed words refused`)
    : notApplicable('no token was found to try')
}

const checkExpiry: Check = (facts) => {
  const { token, names } = facts.plugins
  const found = faultsOf(hitsOf(facts, 'token-without-expiry'))
  if (token !== undefined) {
    const lifetime = lifetimeOf(token)
    // The calls may set what the plugin does not.
    const isSetByCalls = facts.routes.some((route) => /expiresIn|\bexp\b/.test(textOf(route)))
    if (lifetime === undefined && !isSetByCalls)
      return fail([{ where: 'app.jwt', evidence: 'its tokens have no "exp"' }, ...found])
    if (lifetime !== undefined && lifetime > SECONDS_A_DAY) {
      return fail([
        {
          where: 'app.jwt',
          evidence: `its tokens are valid for ${Math.round(lifetime / 3600)} hours`,
        },
      ])
    }
    return pass(
      lifetime === undefined
        ? 'calls set an expiry'
        : `tokens of app.jwt are valid for ${lifetime} s`,
    )
  }
  if (found.length > 0) return fail(found)
  if (names.has('sessions')) return pass('sessions limits the lifetime of access tokens')
  const usesTokens = facts.routes.some((route) => /jwt|bearer/i.test(textOf(route)))
  return usesTokens
    ? manual('find out how long an access token is valid')
    : notApplicable('no token was found')
}

/** Members of bodies that are passwords which a user chooses. */
function chosenPasswords(
  facts: Facts,
  isExempt: (route: RouteFacts) => boolean,
): { route: string; name: string; schema: Readonly<Record<string, unknown>> }[] {
  return facts.routes
    .filter((route) => !route.isSafe && !isExempt(route))
    .flatMap((route) =>
      membersOf(route.schema.body).flatMap(([name, schema]) => {
        const isNew =
          /^(?:new_?|next_?)?passw(?:or)?d$|^next$/i.test(name) && /passw/i.test(name + route.url)
        const isCheck = /^(?:current|old|existing)/i.test(name) || isLogin(route)
        return isNew && !isCheck ? [{ route: route.name, name, schema }] : []
      }),
    )
}

/** The members of a schema, also of objects within it. */
function membersOf(
  schema: unknown,
  depth = 0,
): (readonly [name: string, schema: Readonly<Record<string, unknown>>])[] {
  if (depth > 3) return []
  return Object.entries(propertiesOf(schema)).flatMap(([name, member]) => [
    [name, member] as const,
    ...membersOf('properties' in member ? member : undefined, depth + 1),
  ])
}

/** A login takes passwords of any age; an address that sets one is no login, whatever else it names. */
function isLogin({ url }: RouteFacts): boolean {
  const isChange = /reset|forgot|recover|change|regist|sign-?up|invit|password/i.test(url)
  return (
    !isChange &&
    /(?:^|[/-])(?:log-?in|sign-?in|tokens?|sessions?|authenticate)(?:$|[/-])/i.test(url)
  )
}

const OF_SESSIONS = new Set<unknown>(['signUp', 'resetPassword', 'verifyEmail', 'changePassword'])

/** Its policy refuses passwords of less than 8 characters, whatever the schemas say. */
function isRouteOfSessions({ schema: { tags, operationId } }: RouteFacts): boolean {
  return Array.isArray(tags) && tags.includes('sessions') && OF_SESSIONS.has(operationId)
}

const checkPasswordRules: Check = (facts) => {
  const hasPolicy = facts.plugins.names.has('sessions')
  const passwords = chosenPasswords(facts, (route) => hasPolicy && isRouteOfSessions(route))
  if (passwords.length === 0 && hasPolicy)
    return pass('the policy of sessions asks for 8 characters or more')
  if (passwords.length === 0) return notApplicable('no schema has a password that a user chooses')
  const faults = passwords.flatMap(({ route, name, schema }): Fault[] => {
    const { minLength, maxLength, pattern } = schema
    if (typeof minLength !== 'number' || minLength < 8)
      return [
        {
          where: route,
          evidence: `"${name}" has minLength ${typeof minLength === 'number' ? minLength : '(none)'}`,
        },
      ]
    if (typeof maxLength === 'number' && maxLength < 64)
      return [{ where: route, evidence: `"${name}" has maxLength ${maxLength}` }]
    const composes = typeof pattern === 'string' && /\(\?=/.test(pattern)
    return composes
      ? [{ where: route, evidence: `"${name}" requires a composition of characters` }]
      : []
  })
  return failOr(faults, pass(`${counted(passwords.length, 'schema')} of passwords`))
}

const CREDENTIAL =
  /^(?:access_?token|api_?key|passw(?:or)?d|secret|jwt|sid|session_?(?:id|token|key)|auth(?:_?token)?|refresh_?token|pin|otp)$/i

const checkAddresses: Check = (facts) => {
  const faults = facts.routes.flatMap((route) => {
    const named = Object.keys(propertiesOf(route.schema.querystring)).filter((name) =>
      CREDENTIAL.test(name),
    )
    const inPath = [...route.url.matchAll(/:(\w+)/g)]
      .map((match) => match[1]!)
      .filter((name) => CREDENTIAL.test(name))
    return [...named, ...inPath].map((name) => ({
      where: route.name,
      evidence: `the address contains "${name}"`,
    }))
  })
  const found = faultsOf(hitsOf(facts, 'credential-in-address'))
  return failOr(
    [...faults, ...found],
    facts.routes.length === 0
      ? manual('no route is known')
      : pass('no credential in paths and queries'),
  )
}

const checkEnumeration: Check = (facts) => {
  const logins = facts.routes.filter(checksCredential)
  if (logins.length === 0) return notApplicable('no route checks a credential')
  const hits = hitsOf(facts, 'account-message')
  const names = new Set(logins.map(({ name }) => name))
  const own = hits.filter(({ file }) => names.has(file))
  const faults = own.map(({ file, excerpt }) => ({
    where: file,
    evidence: `answers ${excerpt}`,
    key: file,
  }))
  if (faults.length > 0) return fail(faults)
  if (facts.plugins.names.has('sessions'))
    return pass('sessions answers unknown accounts and wrong passwords alike')
  return manual(
    `compare status, text and time of ${listed([...names])} for known and unknown accounts`,
  )
}

const checkSecondFactor: Check = ({ plugins, routes, target }) => {
  if (plugins.names.has('mfa'))
    return pass('mfa is registered; review which routes and roles require it')
  const has = routes.some(({ url }) => /mfa|2fa|totp|otp|webauthn|passkey|second-factor/i.test(url))
  if (has) return manual('routes of a second factor exist: check that privileged roles need it')
  return target === 'app' && routes.every((route) => !checksCredential(route))
    ? manual('if the login is elsewhere, require a second factor there')
    : manual('no second factor was found')
}

const checkSessionEnd: Check = ({ plugins, routes }) => {
  if (plugins.names.has('sessions'))
    return pass('sessions revokes tokens, and limits idle time and lifetime')
  const logout = routes.find(({ url }) => /log-?out|sign-?out|revoke/i.test(url))
  return manual(
    logout === undefined
      ? 'no route ends a session: check that stolen tokens can be revoked'
      : `check that tokens are refused after ${logout.name}`,
  )
}

/** Checks of authentication by the id of the line. */
export const authenticationChecks: Readonly<Record<string, Check>> = {
  'AUT-01': checkChanging,
  'AUT-02': checkReading,
  'AUT-03': checkSignatures,
  'AUT-04': checkKeys,
  'AUT-05': checkExpiry,
  'AUT-06': (facts) =>
    judgeSource(facts, ['weak-password-hash', 'plain-password'], 'passwords without a slow hash'),
  'AUT-07': checkPasswordRules,
  'AUT-08': checkAddresses,
  'AUT-09': checkEnumeration,
  'AUT-10': (facts) => judgeSource(facts, ['plain-comparison'], 'secrets that are compared by ==='),
  'AUT-11': checkSecondFactor,
  'AUT-12': checkSessionEnd,
}
