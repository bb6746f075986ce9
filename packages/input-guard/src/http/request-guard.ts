/** Refuses requests by their headers and URL, before a byte of their body is read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_INPUT_GUARD_BODY_REFUSED,
  PARAPET_INPUT_GUARD_HEADERS_REFUSED,
  PARAPET_INPUT_GUARD_MEDIA_TYPE,
  PARAPET_INPUT_GUARD_METHOD_OVERRIDE,
  PARAPET_INPUT_GUARD_QUERY_REFUSED,
} from '../errors.ts'
import type { InputGuardSettings } from '../options.ts'
import { findHeaderFault, hasMethodOverride } from '../request/headers.ts'
import { createMediaTypeCheck } from '../request/media-type.ts'
import {
  bodyProblems,
  headerProblems,
  mediaTypeProblems,
  urlProblems,
} from '../request/problems.ts'
import { findParameterFault, type ParameterRules } from '../request/query.ts'
import type { Recorder } from './recorder.ts'

const FORM = 'application/x-www-form-urlencoded'

/** @param listsOf the parameters that a route declares as arrays */
export function guardRequests(
  app: FastifyInstance,
  settings: InputGuardSettings,
  recorder: Recorder,
  listsOf: (request: FastifyRequest) => ReadonlySet<string>,
): void {
  const { maxHeaders, maxHeaderBytes, contentTypes, maxParameters, duplicateParameters } = settings
  const refuseOverride = settings.methodOverride === 'reject'
  const mediaTypeFault = createMediaTypeCheck(contentTypes)
  const rulesOf = (request: FastifyRequest): ParameterRules => ({
    maxParameters,
    refuseOverride,
    refuseOperators: settings.json.refuseOperators,
    lists: duplicateParameters === 'reject' ? listsOf(request) : null,
  })
  const findFault = (request: FastifyRequest): Refusal | undefined => {
    const { headers, raw } = request
    const header = findHeaderFault(raw.rawHeaders, maxHeaders, maxHeaderBytes)
    if (header !== undefined) return refusal('headers', header, HEADERS[header])
    if (refuseOverride && hasMethodOverride(headers)) return OVERRIDE_HEADER
    const type = headers['content-type']
    if (type !== undefined) {
      const media = mediaTypeFault(type)
      if (media !== undefined) return refusal('headers', media, MEDIA_TYPE[media])
    }
    const url = raw.url ?? ''
    if (url.includes('%00')) return refusal('url', 'nul', QUERY('nul'))
    if (!url.includes('?')) return undefined
    const fault = findParameterFault(request.query as object, rulesOf(request))
    return fault && refusal('querystring', fault, QUERY(fault))
  }

  app.addHook('onRequest', (request: FastifyRequest, _reply: FastifyReply, done) => {
    const found = findFault(request)
    if (found === undefined) return done()
    recorder.rejected(request, { in: found.part, field: '', code: found.code, count: 1 })
    done(found.create())
  })
  app.addHook('preValidation', (request: FastifyRequest, _reply: FastifyReply, done) => {
    const { body, headers } = request
    const isForm =
      typeof body === 'object' && body !== null && headers['content-type']?.startsWith(FORM)
    if (isForm !== true) return done()
    const rules = { ...rulesOf(request), lists: null }
    const fault = findParameterFault(body, rules)
    if (fault === undefined) return done()
    recorder.rejected(request, { in: 'body', field: '', code: fault, count: 1 })
    done(new PARAPET_INPUT_GUARD_BODY_REFUSED(bodyProblems[fault]))
  })
}

interface Refusal {
  readonly part: string
  readonly code: string
  readonly create: () => Error
}

function refusal(part: string, code: string, create: () => Error): Refusal {
  return { part, code, create }
}

const OVERRIDE_HEADER = refusal(
  'headers',
  'method_override',
  () => new PARAPET_INPUT_GUARD_METHOD_OVERRIDE(),
)
const HEADERS = {
  header_count: () => new PARAPET_INPUT_GUARD_HEADERS_REFUSED(headerProblems.header_count),
  header_bytes: () => new PARAPET_INPUT_GUARD_HEADERS_REFUSED(headerProblems.header_bytes),
}
const MEDIA_TYPE = {
  media_type: () => new PARAPET_INPUT_GUARD_MEDIA_TYPE(mediaTypeProblems.media_type),
  charset: () => new PARAPET_INPUT_GUARD_MEDIA_TYPE(mediaTypeProblems.charset),
}
const QUERY = (fault: keyof typeof urlProblems) => () =>
  fault === 'method_override'
    ? new PARAPET_INPUT_GUARD_METHOD_OVERRIDE()
    : new PARAPET_INPUT_GUARD_QUERY_REFUSED(urlProblems[fault])
