/**
 * The validators of routes. Each validates one part of a request; if it finds a fault, it validates the other
 * parts, too, so that one response lists all faults.
 */
import type { Ajv, ValidateFunction } from 'ajv'
import type { FastifyRequest, FastifySchemaCompiler } from 'fastify'
import { compileCoercion, type Coercion } from '../validation/coercion.ts'
import { createAjv } from '../validation/create-ajv.ts'
import { firstFaults, toFaults, type InputFault, type RequestPart } from '../validation/faults.ts'
import { ValidationRun, type SanitizedField } from '../validation/run.ts'
import {
  createResolver,
  forHeaders,
  forRequest,
  isNode,
  type ResolveRef,
} from '../validation/schema-tools.ts'
import type { CheckTools } from '../types/check.ts'
import { asError, checkLater, inputError } from './input-error.ts'

/** What a validator reports to the plugin. */
export interface ValidationListener {
  rejected(request: FastifyRequest | undefined, faults: readonly InputFault[]): void
  sanitized(request: FastifyRequest, part: RequestPart, fields: readonly SanitizedField[]): void
}

/** What {@link createSchemaCompiler} takes. */
export interface CompilerSettings {
  readonly tools: CheckTools
  readonly configureAjv: ((ajv: Ajv) => void) | undefined
  readonly externals: Readonly<Record<string, object>>
  readonly listener: ValidationListener
}

const ORDER: readonly RequestPart[] = ['params', 'body', 'querystring', 'headers']
const kFaults = Symbol('input-guard:faults')

/** A validator as Fastify calls it. With `schemaEnv` it gets the request. */
interface Validator {
  (data: unknown, context?: ValidationContext): boolean | Promise<boolean>
  errors: readonly InputFault[] | Error | null
  readonly schemaEnv: true
  [kFaults](request: FastifyRequest): readonly InputFault[]
}

interface ValidationContext {
  readonly parentData: FastifyRequest
  readonly parentDataProperty: string
}

/** Creates the `validatorCompiler` of one set of shared schemas. */
export function createSchemaCompiler(settings: CompilerSettings): FastifySchemaCompiler<unknown> {
  const { tools, externals, configureAjv: configure } = settings
  const run = new ValidationRun()
  const create = (isBody: boolean, schemas: Readonly<Record<string, object>>) =>
    createAjv({ tools, run, externals: schemas, configure }, isBody)
  let ajvs: { readonly body: Ajv; readonly text: Ajv } | undefined
  const resolve = createResolver(externals)

  const compile = (schema: unknown, httpPart: string | undefined) => {
    ajvs ??= {
      body: create(true, requestExternals(externals, resolve)),
      text: create(false, externals),
    }
    const part = (httpPart === 'query' ? 'querystring' : (httpPart ?? 'body')) as RequestPart
    if (part === 'body') {
      return new PartValidator(
        part,
        ajvs.body.compile(forRequest(schema, resolve) as object),
        undefined,
        run,
      )
    }
    const own = part === 'headers' ? forHeaders(schema) : schema
    const coercion = isNode(own) ? compileCoercion(own, resolve) : undefined
    return new PartValidator(part, ajvs.text.compile(own as object), coercion, run)
  }
  // Fastify passes the part with the schema; its type declares the schema only.
  return ((route: { readonly schema: unknown; readonly httpPart?: string }) =>
    toFastify(compile(route.schema, route.httpPart), settings)) as FastifySchemaCompiler<unknown>
}

function requestExternals(
  externals: Readonly<Record<string, object>>,
  resolve: ResolveRef,
): Record<string, object> {
  const entries = Object.entries(externals)
  return Object.fromEntries(entries.map(([id, each]) => [id, forRequest(each, resolve) as object]))
}

/** What the validation of one part found. */
interface PartResult {
  readonly faults: readonly InputFault[]
  readonly reported: ReturnType<ValidationRun['end']>
}

class PartValidator {
  readonly part: RequestPart
  readonly #validate: ValidateFunction
  readonly #coercion: Coercion | undefined
  readonly #run: ValidationRun

  constructor(
    part: RequestPart,
    validate: ValidateFunction,
    coercion: Coercion | undefined,
    run: ValidationRun,
  ) {
    this.part = part
    this.#validate = validate
    this.#coercion = coercion
    this.#run = run
  }

  check(data: unknown, context: object | undefined): PartResult {
    this.#coercion?.(data)
    this.#run.start()
    const isValid = this.#validate(data, context as never)
    const faults = isValid ? [] : toFaults(this.part, this.#validate.errors ?? [])
    return { faults, reported: this.#run.end() }
  }
}

/** Makes the function that Fastify calls. */
function toFastify(inner: PartValidator, { tools, listener }: CompilerSettings): Validator {
  const { part } = inner
  const refuse = (faults: readonly InputFault[], request: FastifyRequest | undefined): false => {
    const others = request === undefined ? [] : otherFaults(request, part)
    const all = firstFaults([...faults, ...others])
    listener.rejected(request, all)
    // Fastify names the part before each fault of an array, so faults of several parts are an error.
    validator.errors = all.every((each) => each.in === part) ? all : inputError(all, part)
    return false
  }
  const check = (data: unknown, context: ValidationContext | undefined) => {
    const request = requestOf(context)
    const { faults, reported } = inner.check(data, context)
    if (faults.length > 0) return refuse(faults, request)
    if (reported === undefined) return true
    if (request !== undefined && reported.sanitized.length > 0) {
      listener.sanitized(request, part, reported.sanitized)
    }
    if (reported.later.length === 0) return true
    return checkLater(reported.later, part).then((late) => {
      if (late.length === 0) return true
      const first = firstFaults(late)
      listener.rejected(request, first)
      throw inputError(first, part)
    })
  }
  const validator: Validator = Object.assign(
    (data: unknown, context?: ValidationContext) =>
      tools.libraries.isReady
        ? check(data, context)
        : tools.libraries.ready().then(async () => {
            if (await check(data, context)) return true
            throw asError(validator.errors, part)
          }),
    {
      errors: null,
      schemaEnv: true as const,
      [kFaults](request: FastifyRequest) {
        const property = part === 'querystring' ? 'query' : part
        const context = { parentData: request, parentDataProperty: property }
        return inner.check(request[property] ?? null, context).faults
      },
    },
  )
  return validator
}

function requestOf(context: ValidationContext | undefined): FastifyRequest | undefined {
  const parent = context?.parentData
  return parent?.routeOptions === undefined ? undefined : parent
}

/** The faults of the parts that Fastify would validate after this one. */
function otherFaults(request: FastifyRequest, part: RequestPart): InputFault[] {
  return ORDER.slice(ORDER.indexOf(part) + 1).flatMap((other) => {
    const validator = request.getValidationFunction(other) as unknown as
      | Partial<Validator>
      | undefined
    return [...(validator?.[kFaults]?.(request) ?? [])]
  })
}
