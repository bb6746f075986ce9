/** Checks of CORS, CSRF and cross-site scripting. */
import { hitsOf, repliesOf, type Facts } from '../facts/facts.ts'
import { headerOf, isHtml, isRefusal, isSuccess } from '../facts/reply.ts'
import { checksCredential, hasSchema, textOf, type RouteFacts } from '../facts/route.ts'
import { ATTACKER, MARKUP } from '../probe/probe-values.ts'
import {
  counted,
  fail,
  failOr,
  listed,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'
import { sentCookies } from './cookies.ts'
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

function checkOrigins(facts: Facts): Outcome {
  const replies = repliesOf(facts, 'origin')
  const faults = replies.flatMap(({ route, reply }) => {
    const allowed = headerOf(reply, 'access-control-allow-origin')
    const isCredentialed = headerOf(reply, 'access-control-allow-credentials') === 'true'
    if (allowed === ATTACKER) return [{ where: route, evidence: `allows ${ATTACKER}` }]
    // What is public may be read by every site; what a login guards may not.
    const isOpenToAll = allowed === '*' && (isCredentialed || isRefusal(reply))
    return isOpenToAll ? [{ where: route, evidence: 'allows "*" on a route behind a login' }] : []
  })
  const hasCors = replies.some(({ reply }) => headerOf(reply, 'access-control-allow-origin') !== '')
  const isFixed = hasCors
    ? 'only fixed origins or public data'
    : 'no response allows another origin'
  return failOr(faults, replies.length === 0 ? manual('no response was seen') : pass(isFixed))
}

function checkCredentials(facts: Facts): Outcome {
  const replies = repliesOf(facts, 'origin', 'null-origin', 'preflight')
  const faults = replies.flatMap(({ route, reply, request }) => {
    const allowed = headerOf(reply, 'access-control-allow-origin')
    const isCredentialed = headerOf(reply, 'access-control-allow-credentials') === 'true'
    if (allowed === 'null') return [{ where: route, evidence: 'allows the origin "null"' }]
    const isAny = allowed === '*' || allowed === ATTACKER
    return isAny && isCredentialed
      ? [
          {
            where: route,
            evidence: `${request.headers['origin'] ?? ''} is allowed with credentials`,
          },
        ]
      : []
  })
  const unique = [...new Map(faults.map((each) => [each.where, each])).values()]
  return failOr(
    unique,
    replies.length === 0
      ? manual('no response was seen')
      : pass('no origin is allowed with credentials'),
  )
}

function checkPreflights(facts: Facts): Outcome {
  const replies = repliesOf(facts, 'preflight')
  const faults = replies.flatMap(({ route, reply }) => {
    const allowed = headerOf(reply, 'access-control-allow-origin')
    return allowed === ATTACKER
      ? [
          {
            where: route,
            evidence: `DELETE is allowed for ${ATTACKER}: ${headerOf(reply, 'access-control-allow-methods')}`,
          },
        ]
      : []
  })
  return failOr(
    faults,
    replies.length === 0
      ? manual('no preflight was answered')
      : pass('preflights of an unknown origin allow nothing'),
  )
}

/** Whether the app knows its clients by a cookie. */
function usesCookies(facts: Facts): boolean {
  const isSessionCookie = sentCookies(facts).some(({ isSession }) => isSession)
  const text = facts.routes.map(textOf).join('\n')
  return (
    isSessionCookie ||
    /\.session\b|cookies\[|\.cookies\.|secure-session|encryptedSession|signCookie|setCookie\(/.test(
      text,
    )
  )
}

const PROTECTION = /csrf|xsrf|sec-fetch|fetch.?metadata|origin.?check|checkOrigin|verifyOrigin/i

function isProtected(route: RouteFacts): boolean {
  return route.hooks.some(({ name, text }) => PROTECTION.test(name) || PROTECTION.test(text))
}

function checkForgery(facts: Facts): Outcome {
  const changing = facts.routes.filter(({ isSafe }) => !isSafe)
  const foreign = repliesOf(facts, 'active-cross-site')
  const accepted = foreign.filter(({ reply }) => isSuccess(reply))
  if (accepted.length > 0) {
    return fail(
      accepted.map(({ route, reply }) => ({
        where: route,
        evidence: `a request of ${ATTACKER} with a cookie got ${reply.status}`,
      })),
    )
  }
  if (foreign.length > 0)
    return pass(`${counted(foreign.length, 'request')} of another site refused`)
  if (changing.length === 0) return notApplicable('no route changes state')
  if (facts.target === 'site') return manual('send a request of another site with a cookie')
  if (facts.plugins.names.has('securityHeaders'))
    return pass('security-headers isolates requests of other sites')
  if (!usesCookies(facts)) return notApplicable('clients are not known by cookies')
  // A login has no session yet that another site could use.
  const bare = changing.filter((route) => !isProtected(route) && !checksCredential(route))
  const isStrict = sentCookies(facts).every(({ attributes }) =>
    /^(?:lax|strict)$/i.test(attributes.get('samesite') ?? ''),
  )
  const weak = hitsOf(facts, 'cookie-site').length > 0 || !isStrict
  if (bare.length === 0) return pass('every state-changing route has a hook against it')
  const faults = bare.map(({ name }) => ({
    where: name,
    evidence: 'uses cookies, and no hook checks a token, Origin or Sec-Fetch-Site',
  }))
  // SameSite alone leaves sibling domains and old browsers.
  return weak || sentCookies(facts).length === 0
    ? fail(faults)
    : manual(`only SameSite protects ${listed(bare.map(({ name }) => name))}`)
}

const CHANGING_PATH =
  /(?:^|\/)(?:delete|remove|destroy|create|update|insert|log-?out|sign-?out|deactivate|activate|enable|disable|approve|reject|cancel|transfer|withdraw|purchase|send|reset|clear|purge|ban|unban|promote|grant|revoke|subscribe|unsubscribe)(?:$|[/-])/i

function checkReading(facts: Facts): Outcome {
  const reading = facts.routes.filter(({ method }) => method === 'GET')
  const hits = hitsOf(facts, 'change')
  const faults = reading.flatMap((route) => {
    const hit = hits.find(({ file, certainty }) => file === route.name && certainty === 'sure')
    if (hit !== undefined) return [{ where: route.name, evidence: hit.excerpt, key: route.name }]
    return CHANGING_PATH.test(route.url)
      ? [{ where: route.name, evidence: 'its path is a verb that changes something' }]
      : []
  })
  if (reading.length === 0) return notApplicable('there is no GET route')
  return failOr(faults, pass(`${counted(reading.length, 'GET route')}: none writes`))
}

function checkMarkup(facts: Facts): Outcome {
  const faults: Fault[] = repliesOf(facts, 'markup').flatMap(({ route, request, reply }) => {
    const isScript = /javascript/i.test(headerOf(reply, 'content-type'))
    return (isHtml(reply) || isScript) && reply.body.includes(MARKUP)
      ? [
          {
            where: route,
            evidence: `${request.url.slice(0, 80)} repeats markup as ${headerOf(reply, 'content-type')}`,
          },
        ]
      : []
  })
  return judgeSource(facts, ['markup'], 'HTML that contains values of a request', faults)
}

function checkJson(facts: Facts): Outcome {
  const replies = repliesOf(facts, 'plain', 'markup')
  const faults = replies.flatMap(({ route, reply, kind }) => {
    const body = reply.body.trimStart()
    const isData = /^[{[]/.test(body) && isJson(body)
    if (isHtml(reply) && isData) return [{ where: route, evidence: 'JSON is sent as text/html' }]
    const isCallback = kind === 'markup' && /^[^{}()]{0,200}posture-probe[^{}()]{0,60}\(/.test(body)
    return isCallback
      ? [{ where: route, evidence: 'the callback of a client is sent as a script' }]
      : []
  })
  const unique = [...new Map(faults.map((each) => [each.where, each])).values()]
  return failOr(
    unique,
    replies.length === 0
      ? manual('no response was seen')
      : pass(`${counted(replies.length, 'response')} examined`),
  )
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function checkRichText(facts: Facts): Outcome {
  const hasText = facts.routes.some(
    ({ schema, isSafe }) =>
      !isSafe &&
      hasSchema(schema.body) &&
      /html|markdown|richText|content|bio|description|comment|message/i.test(
        JSON.stringify(schema.body),
      ),
  )
  return hasText || facts.routes.length === 0
    ? manual('review how text of users is shown, and which elements it may contain')
    : notApplicable('no body has a member for rich text')
}

/** Checks by the id of the line. */
export const browserChecks: Readonly<Record<string, Check>> = {
  'COR-01': checkOrigins,
  'COR-02': checkCredentials,
  'COR-03': checkPreflights,
  'CSR-01': checkForgery,
  'CSR-02': checkReading,
  'CSR-03': (facts) => judgeSource(facts, ['method-override'], 'overrides of methods'),
  'XSS-01': checkMarkup,
  'XSS-02': checkJson,
  'XSS-03': checkRichText,
}
