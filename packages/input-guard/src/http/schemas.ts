/** Connects schemas to an app: the tools of their checks, and the compilers of contexts. */
import { readFastifyInternal, withDeadline } from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyRequest,
  FastifySchemaCompiler,
  FastifyServerOptions,
} from 'fastify'
import { PARAPET_INPUT_GUARD_LOOKUP_FAILED } from '../errors.ts'
import { LibraryShelf } from '../libraries.ts'
import { resolveSchemaOptions, type SchemaOptions, type SchemaSettings } from '../options.ts'
import type { CheckTools } from '../types/check.ts'
import { findRecorder } from './recorder.ts'
import { createSchemaCompiler, type ValidationListener } from './validator.ts'

const kLibraries = Symbol('input-guard:libraries')

/** Events of one request. */
const MAX_EVENTS = 20

/** The fields of a request from which something unsafe was removed, as `body/comment`. */
const sanitizedFields = new WeakMap<FastifyRequest, string[]>()

export function sanitizedOf(request: FastifyRequest): readonly string[] {
  return sanitizedFields.get(request) ?? []
}

export function createTools(settings: SchemaSettings): CheckTools {
  const { htmlEngine, mailDomain, mailDomainTimeoutMs, clock } = settings
  return {
    libraries: new LibraryShelf(),
    now: clock.now,
    htmlEngine,
    mailDomain:
      mailDomain &&
      rememberAnswers(
        (domain) =>
          withDeadline(
            Promise.resolve().then(() => mailDomain(domain)),
            mailDomainTimeoutMs,
            () => new PARAPET_INPUT_GUARD_LOOKUP_FAILED(),
            clock,
          ),
        clock.now,
      ),
  }
}

const ANSWER_MS = 60_000
const MAX_ANSWERS = 1000

/** Asks once a minute for each domain, at the same time and later; failures are not remembered. */
function rememberAnswers(
  ask: (domain: string) => Promise<boolean>,
  now: () => number,
): (domain: string) => Promise<boolean> {
  const known = new Map<string, { readonly until: number; readonly answer: Promise<boolean> }>()
  return (domain) => {
    const found = known.get(domain)
    if (found !== undefined && found.until > now()) return found.answer
    const answer = ask(domain)
    known.delete(domain)
    if (known.size >= MAX_ANSWERS) known.delete(known.keys().next().value!)
    known.set(domain, { until: now() + ANSWER_MS, answer })
    answer.catch(() => {
      if (known.get(domain)?.answer === answer) known.delete(domain)
    })
    return answer
  }
}

const listener: ValidationListener = {
  rejected(request, faults) {
    const [first] = faults
    if (request === undefined || first === undefined) return
    findRecorder(request.server)?.rejected(request, {
      in: first.in,
      field: first.instancePath,
      code: first.params.code,
      count: faults.length,
    })
  },
  sanitized(request, part, found) {
    const fields = found.map(({ pointer }) => `${part}${pointer}`)
    sanitizedFields.set(request, [...(sanitizedFields.get(request) ?? []), ...fields])
    const recorder = findRecorder(request.server)
    // One event for each place of the schema: clients can invent names.
    const first = new Map(found.toReversed().map(({ pointer, place }) => [place, pointer]))
    for (const [place, pointer] of [...first].slice(0, MAX_EVENTS)) {
      recorder?.sanitized(request, `${part}${pointer}`, `${part}${place}`)
    }
  },
}

/** Makes the compilers of contexts; those with the same shared schemas use one. */
export function createCompilerFactory(
  settings: SchemaSettings,
  tools: CheckTools,
): (externals: Readonly<Record<string, object>>) => FastifySchemaCompiler<unknown> {
  const known = new Map<string, FastifySchemaCompiler<unknown>>()
  return (externals) => {
    const key = JSON.stringify(externals)
    const found =
      known.get(key) ??
      createSchemaCompiler({ tools, externals, configureAjv: settings.configureAjv, listener })
    known.set(key, found)
    return found
  }
}

/** A compiler that reads the shared schemas of its context when the first route is compiled. */
export function lateCompiler(
  context: FastifyInstance,
  create: (externals: Readonly<Record<string, object>>) => FastifySchemaCompiler<unknown>,
): FastifySchemaCompiler<unknown> {
  let compiler: FastifySchemaCompiler<unknown> | undefined
  return (route) => {
    compiler ??= create(context.getSchemas() as Record<string, object>)
    return compiler(route)
  }
}

/**
 * The option `schemaController` of Fastify that validates every route of an app by the rules of this package,
 * also those of plugins that are registered before `inputGuard`:
 * `Fastify({ schemaController: guardedSchemas() })`.
 */
export function guardedSchemas(
  options: SchemaOptions = {},
): NonNullable<FastifyServerOptions['schemaController']> {
  const settings = resolveSchemaOptions(options)
  const tools = createTools(settings)
  const create = createCompilerFactory(settings, tools)
  const buildValidator = (externals: unknown) =>
    create(externals as Record<string, object>) as never
  return {
    compilersFactory: {
      buildValidator: Object.assign(buildValidator, { [kLibraries]: tools.libraries }),
    },
  }
}

/** The libraries of {@link guardedSchemas}; `undefined`: the app does not use it. */
function shelfOf(app: FastifyInstance): LibraryShelf | undefined {
  const controller = readFastifyInternal(app, 'fastify.schemaController') as
    | { readonly compilersFactory?: { readonly buildValidator?: { [kLibraries]?: LibraryShelf } } }
    | undefined
  return controller?.compilersFactory?.buildValidator?.[kLibraries]
}

/** Whether the routes of an app are validated by {@link guardedSchemas}. */
export function hasGuardedSchemas(app: FastifyInstance): boolean {
  return shelfOf(app) !== undefined
}

/** Loads the libraries of {@link guardedSchemas}, so that a missing one stops the boot. */
export async function loadLibraries(app: FastifyInstance): Promise<void> {
  await shelfOf(app)?.ready()
}
