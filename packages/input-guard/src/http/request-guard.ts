/** Refuses requests by their headers and URL, before a byte of their body is read. */
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preValidationHookHandler,
} from 'fastify'
import {
  PARAPET_INPUT_GUARD_BODY_REFUSED,
  PARAPET_INPUT_GUARD_HEADERS_REFUSED,
  PARAPET_INPUT_GUARD_MEDIA_TYPE,
  PARAPET_INPUT_GUARD_METHOD_OVERRIDE,
  PARAPET_INPUT_GUARD_QUERY_REFUSED,
} from '../errors.ts'
import type { InputGuardSettings } from '../options.ts'
import { findHeaderFault, hasMethodOverride, type HeaderFault } from '../request/headers.ts'
import { createMediaTypeCheck, mediaTypeOf } from '../request/media-type.ts'
import { textFields } from '../request/multipart.ts'
import {
  bodyProblems,
  headerProblems,
  mediaTypeProblems,
  urlProblems,
} from '../request/problems.ts'
import { findParameterFault, type ParameterFault, type ParameterRules } from '../request/query.ts'
import type { Recorder } from './recorder.ts'

const FORM = 'application/x-www-form-urlencoded'
const MULTIPART = 'multipart/form-data'

/** What parameters may be on every route. */
export type CommonParameterRules = Omit<ParameterRules, 'lists'>

/** What a route declares: parameters that are arrays, and media types of its body. */
export interface DeclaredLists {
  /** Whether a request has one of the media types, if a route declares its body by media type. */
  hasDeclaredType(request: FastifyRequest): boolean
  querystring(request: FastifyRequest): ReadonlySet<string>
  body(request: FastifyRequest): ReadonlySet<string>
}

export function parameterRules(settings: InputGuardSettings): CommonParameterRules {
  return {
    maxParameters: settings.maxParameters,
    refuseOperators: settings.json.refuseOperators,
    refuseOverride: settings.methodOverride === 'reject',
  }
}

export function guardRequests(
  app: FastifyInstance,
  settings: InputGuardSettings,
  recorder: Recorder,
  lists: DeclaredLists,
): void {
  const findHeadFault = createHeadCheck(settings, lists)
  const findBodyFault = createBodyCheck(settings, lists)

  app.addHook('onRequest', (request: FastifyRequest, _reply: FastifyReply, done) => {
    const found = findHeadFault(request)
    if (found === undefined) return done()
    recorder.rejected(request, { in: found.part, field: '', code: found.code, count: 1 })
    done(found.create())
  })
  const checkBody: preValidationHookHandler = (request, _reply, done) => {
    const fault = findBodyFault(request)
    if (fault === undefined) return done()
    recorder.rejected(request, { in: 'body', field: '', code: fault, count: 1 })
    done(new PARAPET_INPUT_GUARD_BODY_REFUSED(bodyProblems[fault]))
  }
  app.addHook('preValidation', checkBody)
  // A plugin that is registered later may attach a form to the body in a hook of its own.
  const checkAttached: preValidationHookHandler = function checkAttached(request, reply, done) {
    if (!isMultipart(request)) return done()
    checkBody.call(this, request, reply, done)
  }
  app.addHook('onRoute', (route) => {
    const own = [route.preValidation ?? []].flat() as preValidationHookHandler[]
    route.preValidation = [checkAttached, ...own]
  })
}

function createHeadCheck(
  settings: InputGuardSettings,
  lists: DeclaredLists,
): (request: FastifyRequest) => Refusal | undefined {
  const { maxHeaders, maxHeaderBytes, contentTypes, duplicateParameters } = settings
  const rules = parameterRules(settings)
  const mediaTypeFault = createMediaTypeCheck(contentTypes)
  return (request) => {
    const { headers, raw } = request
    const header = findHeaderFault(raw.rawHeaders, maxHeaders, maxHeaderBytes)
    if (header !== undefined) return refusal('headers', header, HEADERS(header))
    if (rules.refuseOverride && hasMethodOverride(headers)) return OVERRIDE_HEADER
    const type = headers['content-type']
    if (type !== undefined) {
      const media = mediaTypeFault(type)
      if (media !== undefined) return refusal('headers', media, MEDIA_TYPE[media])
    }
    // Fastify would not validate another type.
    if (!lists.hasDeclaredType(request)) {
      return refusal('headers', 'media_type', MEDIA_TYPE.media_type)
    }
    const url = raw.url ?? ''
    if (url.includes('%00')) return refusal('url', 'nul', QUERY('nul'))
    if (!url.includes('?')) return undefined
    const fault = findParameterFault(request.query as object, {
      ...rules,
      lists: duplicateParameters === 'reject' ? lists.querystring(request) : null,
    })
    return fault && refusal('querystring', fault, QUERY(fault))
  }
}

/** Checks forms and texts; the bytes of JSON are scanned by its parser. */
function createBodyCheck(
  settings: InputGuardSettings,
  lists: DeclaredLists,
): (request: FastifyRequest) => ParameterFault | undefined {
  const rules = parameterRules(settings)
  return (request) => {
    const { body } = request
    if (body === undefined || body === null) return undefined
    const type = mediaTypeOf(request.headers['content-type'] ?? '')
    if (typeof body === 'string') {
      return type.startsWith('text/') && body.includes('\0') ? 'nul' : undefined
    }
    if (typeof body !== 'object' || (type !== FORM && type !== MULTIPART)) return undefined
    return findParameterFault(type === FORM ? body : textFields(body), {
      ...rules,
      lists: settings.duplicateParameters === 'reject' ? lists.body(request) : null,
    })
  }
}

function isMultipart({ headers, body }: FastifyRequest): boolean {
  return body !== undefined && mediaTypeOf(headers['content-type'] ?? '') === MULTIPART
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
const HEADERS = (fault: HeaderFault) => () => {
  const error = new PARAPET_INPUT_GUARD_HEADERS_REFUSED(headerProblems[fault])
  return fault === 'host_count' ? Object.assign(error, { statusCode: 400 }) : error
}
const MEDIA_TYPE = {
  media_type: () => new PARAPET_INPUT_GUARD_MEDIA_TYPE(mediaTypeProblems.media_type),
  charset: () => new PARAPET_INPUT_GUARD_MEDIA_TYPE(mediaTypeProblems.charset),
}
const QUERY = (fault: keyof typeof urlProblems) => () =>
  fault === 'method_override'
    ? new PARAPET_INPUT_GUARD_METHOD_OVERRIDE()
    : new PARAPET_INPUT_GUARD_QUERY_REFUSED(urlProblems[fault])
