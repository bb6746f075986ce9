/** CORS: which origins may read, decided before anything is sent. @see Fetch, section 3.3 */

/** What of CORS can be set. */
export interface CorsSettings {
  /**
   * Origins as a browser sends them (`https://app.example.com`), one level or more of subdomains
   * (`https://*.example.com`), or `*` for data that is anyone's.
   */
  readonly origins: readonly string[]
  /** Asked for an origin that the list does not have. */
  readonly allowOrigin: ((origin: string) => boolean) | undefined
  readonly methods: readonly string[]
  readonly allowedHeaders: readonly string[]
  readonly exposedHeaders: readonly string[]
  readonly credentials: boolean
  /** How long a browser may keep the answer of a preflight, in seconds. */
  readonly maxAgeSeconds: number
  /** Whether pages of the internet may reach this service in a private network. */
  readonly privateNetwork: boolean
}

type Headers = Readonly<Record<string, string>>

/** Runs @fastify/cors once and returns what it sent. */
export type CorsRecorder = (
  settings: CorsSettings,
  origin: string,
) => Promise<{ readonly actual: Headers; readonly preflight: Headers }>

/** What a request says of itself. */
interface CorsQuestion {
  readonly origin: string
  /** `Access-Control-Request-Method`, which makes an OPTIONS request a preflight. */
  readonly requestMethod: string | undefined
  readonly requestHeaders: string | undefined
  /** `Access-Control-Request-Private-Network: true` */
  readonly privateNetwork: boolean
}

/** CORS made ready: lookups only. */
export interface CompiledCors {
  /** Whether replies differ by origin. */
  readonly varies: boolean
  /** Whether the origin may read replies. */
  readonly allows: (origin: string) => boolean
  /** Headers of a reply to an allowed origin, but for the origin itself. */
  readonly actual: readonly (readonly [name: string, value: string])[]
  /** The value of `Access-Control-Allow-Origin`. */
  readonly allowOriginValue: (origin: string) => string
  /** Headers of the answer to a preflight; `null`: it is refused. */
  readonly preflight: (question: CorsQuestion) => readonly (readonly [string, string])[] | null
}

const PROBE = 'https://origin.invalid'
const MAX_ORIGIN = 255
/** Methods and headers that need no permission. @see Fetch, sections 2.2.1 and 2.2.2 */
const SAFELISTED_METHODS = new Set(['GET', 'HEAD', 'POST'])
const SAFELISTED_HEADERS = [
  'accept',
  'accept-language',
  'content-language',
  'content-type',
  'range',
]
/** What the answer to a preflight depends on. */
export const PREFLIGHT_VARY =
  'Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network'

/** Makes settings ready, once, at boot. */
export async function compileCors(
  settings: CorsSettings,
  record: CorsRecorder,
): Promise<CompiledCors> {
  const recorded = await record(settings, PROBE)
  const anyone = settings.origins.includes('*')
  const allows = anyone ? () => true : createOriginMatcher(settings)
  const methods = new Set([...settings.methods, ...SAFELISTED_METHODS])
  const headers = new Set([...settings.allowedHeaders.map(lower), ...SAFELISTED_HEADERS])
  const preflight = withoutOrigin(recorded.preflight)
  return {
    varies: !anyone,
    allows,
    actual: withoutOrigin(recorded.actual),
    allowOriginValue: anyone ? () => '*' : (origin) => origin,
    preflight: ({ origin, requestMethod, requestHeaders, privateNetwork }) => {
      if (!allows(origin) || !methods.has(requestMethod ?? '')) return null
      if (privateNetwork && !settings.privateNetwork) return null
      if (!namesOf(requestHeaders).every((name) => headers.has(name))) return null
      return [
        ['access-control-allow-origin', anyone ? '*' : origin],
        ...preflight,
        ...(privateNetwork ? [['access-control-allow-private-network', 'true'] as const] : []),
      ]
    },
  }
}

/** The headers that an answer varies by, added to those it varies by already. */
export function addVary(before: unknown, added: string): string {
  const text = Array.isArray(before) ? before.join(', ') : typeof before === 'string' ? before : ''
  if (text === '') return added
  const known = new Set(namesOf(text))
  if (known.has('*')) return text
  const missing = added.split(', ').filter((name) => !known.has(lower(name)))
  return [text, ...missing].join(', ')
}

function withoutOrigin(headers: Headers): (readonly [string, string])[] {
  return Object.entries(headers).filter(
    // An empty list is the same as none.
    ([name, value]) => name !== 'access-control-allow-origin' && name !== 'vary' && value !== '',
  )
}

/** A test by lookup and by suffix: linear, and anchored at both ends. */
function createOriginMatcher({ origins, allowOrigin }: CorsSettings): (origin: string) => boolean {
  const exact = new Set(origins.filter((origin) => !origin.includes('*')))
  const patterns = origins
    .filter((origin) => origin.includes('*'))
    .map((pattern) => pattern.split('*') as [scheme: string, suffix: string])
  return (origin) => {
    if (exact.has(origin)) return true
    // A sandboxed frame and a file have this origin, whoever wrote them.
    if (origin === 'null' || origin.length > MAX_ORIGIN) return false
    return (
      patterns.some(([scheme, suffix]) => isSubdomain(origin, scheme, suffix)) ||
      isAllowedBy(allowOrigin, origin)
    )
  }
}

/** A function that fails has not said yes. */
function isAllowedBy(allowOrigin: CorsSettings['allowOrigin'], origin: string): boolean {
  try {
    return allowOrigin?.(origin) === true
  } catch {
    return false
  }
}

/** @param suffix with its dot: `.example.com` */
function isSubdomain(origin: string, scheme: string, suffix: string): boolean {
  if (!origin.startsWith(scheme) || !origin.endsWith(suffix)) return false
  const labels = origin.slice(scheme.length, -suffix.length)
  return /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(labels)
}

function namesOf(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((name) => lower(name.trim()))
    .filter((name) => name !== '')
}

function lower(text: string): string {
  return text.toLowerCase()
}
