/** Checks of cookies: those that responses set, and those in the source. */
import { hitsOf, type Facts } from '../facts/facts.ts'
import { textOf } from '../facts/route.ts'
import {
  fail,
  faultsOf,
  listed,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'

type Check = (facts: Facts) => Outcome

/** One `Set-Cookie`, taken apart. */
interface SentCookie {
  readonly route: string
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
  readonly isSession: boolean
}

/** Cookies that carry no session: CSRF double submit, languages, themes. */
const PLAIN = /csrf|xsrf|lang|locale|theme|consent|_ga|banner/i

/** The cookies that responses set, each name once; deletions are left out. */
export function sentCookies({ exchanges }: Facts): SentCookie[] {
  const cookies = new Map<string, SentCookie>()
  for (const { route, reply } of exchanges) {
    for (const text of reply?.cookies ?? []) {
      const [pair = '', ...rest] = text.split(';').map((each) => each.trim())
      const name = pair.slice(0, pair.indexOf('='))
      const attributes = new Map(
        rest.map((each) => {
          const at = each.indexOf('=')
          return at === -1
            ? ([each.toLowerCase(), ''] as const)
            : ([each.slice(0, at).toLowerCase(), each.slice(at + 1)] as const)
        }),
      )
      const isDeleted =
        pair.endsWith('=') && (attributes.get('max-age') === '0' || attributes.has('expires'))
      if (!isDeleted && !cookies.has(name))
        cookies.set(name, { route, name, attributes, isSession: !PLAIN.test(name) })
    }
  }
  return [...cookies.values()]
}

function onCookies(
  find: (cookie: SentCookie) => string | undefined,
  rule: string,
  holds: string,
): Check {
  return (facts) => {
    const cookies = sentCookies(facts)
    const faults: Fault[] = cookies.flatMap((cookie) => {
      const evidence = find(cookie)
      return evidence === undefined
        ? []
        : [
            {
              where: cookie.route,
              evidence: `cookie "${cookie.name}" ${evidence}`,
              key: cookie.name,
            },
          ]
    })
    faults.push(...faultsOf(hitsOf(facts, rule)))
    const setsElsewhere = facts.routes.some((route) =>
      /setCookie\(|\.session\b/.test(textOf(route)),
    )
    if (faults.length > 0) return fail(faults)
    if (cookies.length > 0) return pass(`${listed(cookies.map(({ name }) => name))}: ${holds}`)
    if (!setsElsewhere) return notApplicable('no response sets a cookie')
    return facts.source === undefined
      ? manual('the source sets cookies that no probe has seen')
      : pass(`the cookies in the source: ${holds}`)
  }
}

/** Checks by the id of the line. */
export const cookieChecks: Readonly<Record<string, Check>> = {
  'COO-01': onCookies(
    ({ attributes }) => (attributes.has('secure') ? undefined : 'is not Secure'),
    'cookie-insecure',
    'Secure',
  ),
  'COO-02': onCookies(
    ({ attributes, isSession }) =>
      isSession && !attributes.has('httponly') ? 'is not HttpOnly' : undefined,
    'cookie-script',
    'HttpOnly',
  ),
  'COO-03': onCookies(
    ({ attributes }) => {
      const site = attributes.get('samesite')
      return site !== undefined && /^(?:lax|strict)$/i.test(site)
        ? undefined
        : `has SameSite=${site ?? '(none)'}`
    },
    'cookie-site',
    'SameSite',
  ),
  'COO-04': onCookies(
    ({ name, isSession }) =>
      isSession && !/^__(?:Host|Secure)-/.test(name) ? 'has no prefix' : undefined,
    'cookie-name',
    'a prefix',
  ),
}
