/** Parses JSON bodies after a scan of their bytes. */
import { isUtf8 } from 'node:buffer'
import {
  errorCodes,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyRequest,
} from 'fastify'
import fp from 'fastify-plugin'
import { PARAPET_INPUT_GUARD_BODY_REFUSED } from '../errors.ts'
import { JsonScanner } from '../json/scan-json.ts'
import { resolveJsonOptions, type JsonGuardOptions, type JsonSettings } from '../options.ts'
import { bodyProblems } from '../request/problems.ts'
import { createRecorder, type Recorder } from './recorder.ts'

const JSON_TYPE = 'application/json'
const kParser = Symbol('input-guard:json')

/**
 * Replaces the parser of `application/json` of a context, for its routes and for contexts that are created
 * later. A context with a JSON parser of its own keeps it. An app that removed the parser gets none.
 */
export function guardJson(app: FastifyInstance, settings: JsonSettings, recorder: Recorder): void {
  const marked = app as FastifyInstance & { [kParser]?: true }
  if (marked[kParser] === true || !app.hasContentTypeParser(JSON_TYPE)) return
  Object.defineProperty(marked, kParser, { value: true })
  const scanner = new JsonScanner(settings)
  const refuse = (code: keyof typeof bodyProblems, request: FastifyRequest): Error => {
    recorder.rejected(request, { in: 'body', field: '', code, count: 1 })
    return new PARAPET_INPUT_GUARD_BODY_REFUSED(bodyProblems[code])
  }
  app.removeContentTypeParser(JSON_TYPE)
  app.addContentTypeParser(JSON_TYPE, { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (body.length === 0) return done(new errorCodes.FST_ERR_CTP_EMPTY_JSON_BODY())
    if (!isUtf8(body)) return done(refuse('utf_8', request))
    const fault = scanner.scan(body)
    if (fault !== null) return done(refuse(fault, request))
    let value: unknown
    try {
      value = JSON.parse(textOf(body))
    } catch {
      return done(new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY())
    }
    done(null, value)
  })
}

/** A byte order mark is dropped, as Fastify does. @see RFC 8259, section 8.1 */
function textOf(body: Buffer): string {
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf
  return body.toString('utf8', hasMark ? 3 : 0)
}

/**
 * Refuses JSON bodies with duplicate keys, names of the prototype chain, NUL, lone surrogates, and more depth or
 * values than allowed. `inputGuard` includes it. Register it by itself, first, to guard the bodies of plugins that
 * are registered before `inputGuard`.
 */
export const jsonGuard: FastifyPluginAsync<JsonGuardOptions> = fp(
  async (app: FastifyInstance, options: JsonGuardOptions): Promise<void> => {
    guardJson(app, resolveJsonOptions(options), createRecorder(app))
  },
  { name: '@parapet/input-guard/json', fastify: '5.x' },
)
