/** CORS: computed at boot, decided by lookups for each request. @see Fetch, section 3.3 */
import { createOriginCheck } from './allowed-origins.ts'
import { listNames } from './header-list.ts'
import type { CorsSettings } from './options.ts'

type Headers = Readonly<Record<string, string>>
type HeaderList = readonly (readonly [name: string, value: string])[]

/** Runs @fastify/cors once for an allowed origin and returns the headers that it sent. */
export type CorsRecorder = (
  settings: CorsSettings,
  origin: string,
) => Promise<{ readonly actual: Headers; readonly preflight: Headers }>

/** The headers of a preflight request. */
interface Preflight {
  readonly origin: string
  /** `Access-Control-Request-Method` */
  readonly requestMethod: string | undefined
  /** `Access-Control-Request-Headers` */
  readonly requestHeaders: string | undefined
  /** Whether `Access-Control-Request-Private-Network` is `true`. */
  readonly privateNetwork: boolean
}

/** CORS with everything computed that does not depend on the request. */
export interface CompiledCors {
  /** Whether responses differ by origin. */
  readonly varies: boolean
  /** Whether the origin may read responses. */
  readonly allows: (origin: string) => boolean
  /** Whether an allowed origin may send this method. With the origin `*` it may only read. */
  readonly sends: (method: string) => boolean
  /** Whether requests may carry cookies. */
  readonly credentials: boolean
  /** The headers of a response to an allowed origin, without `Access-Control-Allow-Origin`. */
  readonly actual: HeaderList
  /** The value of `Access-Control-Allow-Origin`. */
  readonly allowOriginValue: (origin: string) => string
  /** The headers of the response to a preflight. `null`: it is refused. */
  readonly preflight: (request: Preflight) => HeaderList | null
}

/** The recorded origin; `.invalid` never resolves. @see RFC 6761, section 6.4 */
const RECORDED_ORIGIN = 'https://origin.invalid'
/** Methods that need no permission. @see Fetch, section 2.2.1 */
const SAFELISTED_METHODS = ['GET', 'HEAD', 'POST']
/** Headers that need no permission. @see Fetch, section 2.2.2 */
const SAFELISTED_HEADERS = [
  'accept',
  'accept-language',
  'content-language',
  'content-type',
  'range',
]

/** Computes the headers of actual and preflight responses, once, at boot. */
export async function compileCors(
  settings: CorsSettings,
  record: CorsRecorder,
): Promise<CompiledCors> {
  const recorded = await record(settings, RECORDED_ORIGIN)
  const anyOrigin = settings.origins.includes('*')
  const allows = anyOrigin ? () => true : createOriginCheck(settings)
  const methods = new Set([...settings.methods, ...SAFELISTED_METHODS])
  const headers = new Set([...listNames(settings.allowedHeaders.join()), ...SAFELISTED_HEADERS])
  const sent = new Set(['GET', 'HEAD', ...(anyOrigin ? [] : settings.methods)])
  const preflightHeaders = withoutOrigin(recorded.preflight)
  return {
    varies: !anyOrigin,
    allows,
    sends: (method) => sent.has(method),
    credentials: settings.credentials,
    actual: withoutOrigin(recorded.actual),
    allowOriginValue: anyOrigin ? () => '*' : (origin) => origin,
    preflight: ({ origin, requestMethod, requestHeaders, privateNetwork }) => {
      if (!allows(origin) || !methods.has(requestMethod ?? '')) return null
      if (privateNetwork && !settings.privateNetwork) return null
      if (!listNames(requestHeaders).every((name) => headers.has(name))) return null
      return [
        ['access-control-allow-origin', anyOrigin ? '*' : origin],
        ...preflightHeaders,
        ...(privateNetwork ? [['access-control-allow-private-network', 'true'] as const] : []),
      ]
    },
  }
}

/** Removes the headers that depend on the request, and empty lists. */
function withoutOrigin(headers: Headers): HeaderList {
  return Object.entries(headers).filter(
    ([name, value]) => name !== 'access-control-allow-origin' && name !== 'vary' && value !== '',
  )
}
