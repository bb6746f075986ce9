/** Parses JSON bodies after a scan of their bytes. */
import { isUtf8 } from 'node:buffer'
import { readFastifyInternal } from '@parapet/kit'
import {
  errorCodes,
  type FastifyBodyParser,
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

/** Parses the bytes of a JSON body; for `addContentTypeParser(type, { parseAs: 'buffer' }, parser)`. */
export type JsonParser = FastifyBodyParser<Buffer>

/** Every parser that scans. */
const guarded = new WeakSet<object>()

/** Types of JSON, and one of them that a pattern for all of them matches. */
const [JSON_TYPES, ANY_JSON, NO_JSON] = [/[/+]json$/, 'application/vnd.api+json', 'image/png']

/** The types of JSON that a context parses without a scan. If a later Fastify hides its parsers, none are found. */
export function unscannedTypes(context: FastifyInstance): string[] {
  const { customParsers, parserRegExpList } = (readFastifyInternal(
    context,
    'fastify.contentTypeParser',
  ) ?? {}) as {
    readonly customParsers?: ReadonlyMap<string, { readonly fn: object }>
    readonly parserRegExpList?: readonly RegExp[]
  }
  const patterns = (parserRegExpList ?? [])
    .filter((each) => each.test(ANY_JSON) && !each.test(NO_JSON))
    .map(String)
  return [...(customParsers ?? [])].flatMap(([type, { fn }]) => {
    const isJson = JSON_TYPES.test(type) || patterns.includes(type)
    return isJson && !guarded.has(fn) ? [type] : []
  })
}

/**
 * Makes the guarded parser the default parser of `application/json` of a context and of contexts that are
 * created later. An app or a plugin that adds a parser of its own, before or after, keeps it, and an app that
 * removed the parser gets none.
 *
 * @param hasOptions replaces the parser of an earlier registration; otherwise that one is kept.
 */
export function guardJson(
  app: FastifyInstance,
  settings: JsonSettings,
  recorder: Recorder,
  hasOptions: boolean,
): JsonParser {
  const marked = app as FastifyInstance & { readonly [kParser]?: JsonParser }
  const earlier = marked[kParser]
  if (earlier !== undefined && !hasOptions) return earlier
  const parser = createJsonParser(settings, recorder)
  Object.defineProperty(marked, kParser, { value: parser, configurable: true })
  if (app.hasContentTypeParser(JSON_TYPE)) replaceDefault(app, parser)
  return parser
}

/** Fastify lets a later parser replace its default one only, so the guarded parser becomes the default. */
function replaceDefault(app: FastifyInstance, parser: JsonParser): void {
  try {
    app.addContentTypeParser(JSON_TYPE, { parseAs: 'buffer' }, parser)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'FST_ERR_CTP_ALREADY_PRESENT') throw error
    app.log.warn(
      'input-guard keeps the parser of application/json that the app has added; its bodies are not scanned',
    )
    return
  }
  const parsers = readFastifyInternal(app, 'fastify.contentTypeParser') as
    | Record<symbol, unknown>
    | undefined
  const key = Object.getOwnPropertySymbols(parsers ?? {}).find(
    ({ description }) => description === 'fastify.defaultJSONParse',
  )
  if (parsers !== undefined && key !== undefined) parsers[key] = parser
}

function createJsonParser(settings: JsonSettings, recorder: Recorder): JsonParser {
  const scanner = new JsonScanner(settings)
  const refuse = (code: keyof typeof bodyProblems, request: FastifyRequest): Error => {
    recorder.rejected(request, { in: 'body', field: '', code, count: 1 })
    return new PARAPET_INPUT_GUARD_BODY_REFUSED(bodyProblems[code])
  }
  const parser: JsonParser = (request, body, done) => {
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
  }
  guarded.add(parser)
  return parser
}

/** A byte order mark is dropped, as Fastify does. @see RFC 8259, section 8.1 */
function textOf(body: Buffer): string {
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf
  return body.toString('utf8', hasMark ? 3 : 0)
}

/**
 * Refuses JSON bodies with duplicate keys, names of the prototype chain, NUL, lone surrogates, and more depth or
 * values than allowed. `inputGuard` includes it. Register it by itself, first, to guard the bodies of plugins that
 * are registered before `inputGuard`. Its options hold until another registration has options.
 */
export const jsonGuard: FastifyPluginAsync<JsonGuardOptions> = fp(
  async (app: FastifyInstance, options: JsonGuardOptions): Promise<void> => {
    const hasOptions = Object.keys(options).length > 0
    guardJson(app, resolveJsonOptions(options), createRecorder(app), hasOptions)
  },
  { name: '@parapet/input-guard/json', fastify: '5.x' },
)
