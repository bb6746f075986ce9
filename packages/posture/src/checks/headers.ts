/** Checks of the headers of responses. */
import { repliesOf, type Facts } from '../facts/facts.ts'
import { headerOf, isHtml, isSuccess, type Exchange, type Reply } from '../facts/reply.ts'
import {
  counted,
  fail,
  failOr,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'

type Answered = Exchange & { readonly reply: Reply }
type Check = (facts: Facts) => Outcome

/** One reply for each route, and the errors that belong to no route. */
function pages(facts: Facts): Answered[] {
  return repliesOf(facts, 'plain').filter(({ reply }) => reply.status !== 429)
}

function faultsIn(
  exchanges: readonly Answered[],
  find: (reply: Reply) => string | undefined,
): Fault[] {
  return exchanges.flatMap(({ route, reply }) => {
    const evidence = find(reply)
    return evidence === undefined ? [] : [{ where: route, evidence }]
  })
}

/** Checks a property of every reply; without replies a person must look. */
function onReplies(find: (reply: Reply) => string | undefined, holds: string): Check {
  return (facts) => {
    const seen = [...pages(facts), ...repliesOf(facts, 'unknown')]
    if (seen.length === 0) return manual('no response was seen')
    return failOr(faultsIn(seen, find), pass(`${counted(seen.length, 'response')}: ${holds}`))
  }
}

const cspOf = (reply: Reply) => headerOf(reply, 'content-security-policy')

/** The sources of a directive, or of its fallback. */
function sourcesOf(csp: string, directive: string): readonly string[] | undefined {
  const directives = new Map(
    csp.split(/[;,]/).map((each) => {
      const [name = '', ...sources] = each.trim().split(/\s+/)
      return [name.toLowerCase(), sources] as const
    }),
  )
  return directives.get(directive) ?? directives.get('default-src')
}

function findCspFault(reply: Reply): string | undefined {
  const csp = cspOf(reply)
  if (csp === '') return undefined
  const scripts = sourcesOf(csp, 'script-src')
  if (scripts === undefined) {
    // A policy that only forbids framing says nothing about scripts: fit for data, not for pages.
    return isHtml(reply) ? 'the policy has neither script-src nor default-src' : undefined
  }
  const isStrict = scripts.some((each) =>
    /^'(?:nonce-|sha(?:256|384|512)-|strict-dynamic)/i.test(each),
  )
  if (scripts.includes("'unsafe-inline'") && !isStrict) return `script-src ${scripts.join(' ')}`
  if (scripts.includes("'unsafe-eval'")) return `script-src ${scripts.join(' ')}`
  const isWild = scripts.some((each) => /^(?:\*|https?:|data:|blob:|https?:\/\/\*)$/i.test(each))
  if (isWild && !scripts.includes("'strict-dynamic'")) return `script-src ${scripts.join(' ')}`
  const objects = sourcesOf(csp, 'object-src')
  return objects?.includes('*') === true ? `object-src ${objects.join(' ')}` : undefined
}

function findFramingFault(reply: Reply): string | undefined {
  const ancestors = /frame-ancestors\s+([^;]*)/i.exec(cspOf(reply))?.[1]
  if (ancestors !== undefined) {
    return /(?:^|\s)(?:\*|https?:)(?:\s|$)/.test(ancestors)
      ? `frame-ancestors ${ancestors.trim()}`
      : undefined
  }
  const old = headerOf(reply, 'x-frame-options')
  return /^(?:deny|sameorigin)$/i.test(old.trim())
    ? undefined
    : 'neither frame-ancestors nor X-Frame-Options'
}

function findRevealed(reply: Reply): string | undefined {
  const powered = ['x-powered-by', 'x-aspnet-version', 'x-runtime', 'x-generator'].find(
    (name) => headerOf(reply, name) !== '',
  )
  if (powered !== undefined) return `${powered}: ${headerOf(reply, powered)}`
  const server = headerOf(reply, 'server')
  return /\d|express|fastify|node|apache|nginx/i.test(server) ? `server: ${server}` : undefined
}

function findReferrerFault(reply: Reply): string | undefined {
  const policy = headerOf(reply, 'referrer-policy').split(',').at(-1)?.trim() ?? ''
  if (policy === '') return 'no Referrer-Policy'
  return /^(?:unsafe-url|no-referrer-when-downgrade|origin-when-cross-origin|origin)$/i.test(policy)
    ? `referrer-policy: ${policy}`
    : undefined
}

function findTypeFault(reply: Reply): string | undefined {
  if (reply.body === '' || [204, 304].includes(reply.status)) return undefined
  const type = headerOf(reply, 'content-type')
  if (type === '') return 'a body without a Content-Type'
  return /^text\/(?:html|plain|css)\b/i.test(type) && !/charset=/i.test(type)
    ? `content-type: ${type}`
    : undefined
}

function findHstsFault(reply: Reply): string | undefined {
  const value = headerOf(reply, 'strict-transport-security')
  if (value === '') return 'no Strict-Transport-Security'
  const age = Number(/max-age="?(\d+)/i.exec(value)?.[1] ?? 0)
  return age < 31_536_000 ? `strict-transport-security: ${value}` : undefined
}

function findIsolationFault(reply: Reply): string | undefined {
  if (!isHtml(reply)) return undefined
  const value = headerOf(reply, 'cross-origin-opener-policy')
  return /^same-origin(?:-allow-popups)?$|^noopener-allow-popups$/i.test(value.trim())
    ? undefined
    : `HTML with cross-origin-opener-policy: ${value === '' ? '(none)' : value}`
}

const COMPARED = [
  'x-content-type-options',
  'content-security-policy',
  'strict-transport-security',
  'x-frame-options',
  'referrer-policy',
]

function checkErrorHeaders(facts: Facts): Outcome {
  const normal = pages(facts).filter(({ reply }) => isSuccess(reply))
  const errors = repliesOf(facts, 'unknown', 'malformed')
  if (normal.length === 0 || errors.length === 0)
    return notApplicable('no pair of responses to compare')
  const usual = COMPARED.filter((name) => normal.every(({ reply }) => headerOf(reply, name) !== ''))
  if (usual.length === 0) return notApplicable('successful responses carry none of these headers')
  const faults = errors.flatMap(({ request, reply }) => {
    const missing = usual.filter((name) => headerOf(reply, name) === '')
    if (missing.length === 0) return []
    const where = request.url.length > 40 ? `${request.url.slice(0, 40)}…` : request.url
    return [{ where: `${reply.status} of ${where}`, evidence: `without ${missing.join(', ')}` }]
  })
  return failOr(faults, pass(`404 and malformed addresses carry ${usual.join(', ')}`))
}

function isCached({ reply }: Answered): boolean {
  return !/no-store/i.test(headerOf(reply, 'cache-control'))
}

function checkCaching(facts: Facts): Outcome {
  const withRoles = repliesOf(facts, 'role').filter(
    ({ reply, request }) => isSuccess(reply) && request.method === 'GET',
  )
  const withCookies = repliesOf(facts, 'plain').filter(({ reply }) => reply.cookies.length > 0)
  const refusals = repliesOf(facts, 'plain').filter(({ reply }) =>
    [401, 403].includes(reply.status),
  )
  const faults = [...withRoles, ...withCookies].filter(isCached).map(({ route, reply }) => ({
    where: route,
    evidence: `cache-control: ${headerOf(reply, 'cache-control') || '(none)'}`,
  }))
  const isPublic = /\bpublic\b|\bmax-age=[1-9]/i
  const shared = refusals.filter(({ reply }) => isPublic.test(headerOf(reply, 'cache-control')))
  faults.push(
    ...shared.map(({ route, reply }) => ({
      where: route,
      evidence: `a refusal with cache-control: ${headerOf(reply, 'cache-control')}`,
    })),
  )
  if (faults.length > 0) return fail(unique(faults))
  if (withRoles.length + withCookies.length > 0) return pass('private responses say no-store')
  if (refusals.length === 0) return notApplicable('no response needs a login or sets a cookie')
  // What a refusal carries is set for every response of the route, before its login is checked.
  return refusals.some(isCached)
    ? manual('give headers of a principal under "roles": no private response was seen')
    : pass(`${counted(refusals.length, 'refusal')} of private routes say no-store`)
}

function unique(faults: readonly Fault[]): Fault[] {
  return [...new Map(faults.map((fault) => [fault.where, fault])).values()]
}

/** Checks by the id of the line. */
export const headerChecks: Readonly<Record<string, Check>> = {
  'HDR-01': onReplies(
    (reply) => (cspOf(reply) === '' ? 'no Content-Security-Policy' : undefined),
    'Content-Security-Policy',
  ),
  'HDR-02': (facts) =>
    pages(facts).every(({ reply }) => cspOf(reply) === '')
      ? notApplicable('no response carries a policy (see HDR-01)')
      : onReplies(findCspFault, 'no inline script, eval or wildcard')(facts),
  'HDR-03': onReplies(
    (reply) =>
      /^nosniff$/i.test(headerOf(reply, 'x-content-type-options').trim())
        ? undefined
        : 'no nosniff',
    'nosniff',
  ),
  'HDR-04': onReplies(findFramingFault, 'framing is limited'),
  'HDR-05': onReplies(findReferrerFault, 'Referrer-Policy'),
  'HDR-06': onReplies(findRevealed, 'no product or version'),
  'HDR-07': onReplies((reply) => {
    const value = headerOf(reply, 'x-xss-protection').trim()
    return value === '' || value === '0' ? undefined : `x-xss-protection: ${value}`
  }, 'no X-XSS-Protection, or 0'),
  'HDR-08': (facts) =>
    pages(facts).some(({ reply }) => isHtml(reply))
      ? onReplies(findIsolationFault, 'Cross-Origin-Opener-Policy')(facts)
      : notApplicable('no response is a document'),
  'HDR-09': checkErrorHeaders,
  'HDR-10': onReplies(findTypeFault, 'Content-Type'),
  'HDR-11': checkCaching,
  'TLS-01': onReplies(findHstsFault, 'Strict-Transport-Security'),
}
