/** Finds the schema of a response, and applies it. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { applyResponsePlan } from '../output/apply-plan.ts'
import {
  allowsEverything,
  compileResponsePlan,
  type ResponsePlan,
} from '../output/response-plan.ts'
import { mediaTypeOf } from '../request/media-type.ts'
import { isNode, type ResolveRef, type SchemaNode } from '../validation/schema-tools.ts'
import type { Recorder } from './recorder.ts'

/** What is reported of responses, and how much may be parsed. */
export interface ResponseSettings {
  /** Reports members that are not declared; hidden ones are left out without it, too. */
  readonly recorder: Recorder | undefined
  readonly maxTextBytes: number
}

/** The schemas of the responses of a route. */
export class ResponseSchemas {
  readonly responses: Readonly<Record<string, unknown>>
  readonly #settings: ResponseSettings
  readonly #resolver: () => ResolveRef
  readonly #plans = new Map<SchemaNode, ResponsePlan>()

  constructor(
    responses: Readonly<Record<string, unknown>>,
    settings: ResponseSettings,
    resolver: () => ResolveRef,
  ) {
    this.responses = responses
    this.#settings = settings
    this.#resolver = resolver
  }

  get maxBytes(): number {
    return this.#settings.maxTextBytes
  }

  allowEverything(schema: SchemaNode): boolean {
    return allowsEverything(this.#planOf(schema))
  }

  /** Reports members that are not declared, and leaves out hidden ones. */
  apply(schema: SchemaNode, request: FastifyRequest, value: unknown): unknown {
    const { recorder } = this.#settings
    const plan = this.#planOf(schema)
    if (recorder === undefined && !plan.hidesSomething) return value
    return applyResponsePlan(value, plan, (field) => recorder?.fieldRemoved(request, field))
  }

  /** Leaves out members that are not declared, too. */
  serialize(
    schema: SchemaNode,
    request: FastifyRequest,
    reply: FastifyReply,
    status: number,
    value: object,
  ): string {
    const serialize = reply.compileSerializationSchema(schema, String(status))
    return serialize(this.apply(schema, request, value) as Record<string, unknown>)
  }

  #planOf(schema: SchemaNode): ResponsePlan {
    const plan = this.#plans.get(schema) ?? compileResponsePlan(schema, this.#resolver())
    this.#plans.set(schema, plan)
    return plan
  }
}

/** What decides which schema a response has. */
export interface ResponseHead {
  readonly status: number
  /** Its media type with parameters; empty: none. */
  readonly type: string
}

export function headOf(reply: FastifyReply): ResponseHead {
  return { status: reply.statusCode, type: String(reply.getHeader('content-type') ?? '') }
}

/** The schema by which Fastify serializes the response. */
export function responseSchemaOf(
  responses: Readonly<Record<string, unknown>>,
  { status, type }: ResponseHead,
): SchemaNode | undefined {
  const declared = declaredFor(responses, status)
  const content = declared?.['content']
  if (!isNode(content)) return declared
  return schemaOf(content[mediaTypeOf(type || JSON_TYPE)]) ?? schemaOf(content['*/*'])
}

/** The schema of a JSON response whose media type its route does not declare: that of the JSON that it declares. */
export function jsonSchemaOf(
  responses: Readonly<Record<string, unknown>>,
  head: ResponseHead,
): SchemaNode | undefined {
  const found = responseSchemaOf(responses, head)
  const content = declaredFor(responses, head.status)?.['content']
  if (found !== undefined || !isNode(content)) return found
  const type = Object.keys(content).find(isJsonType)
  return type === undefined ? undefined : schemaOf(content[type])
}

const JSON_TYPE = 'application/json'
const ANY_JSON = /^(?:application|text)\/(?:[\w.-]+\+)?json(?![\w.+-])/i

export function isJsonType(type: string): boolean {
  return ANY_JSON.test(type)
}

function declaredFor(
  responses: Readonly<Record<string, unknown>>,
  status: number,
): SchemaNode | undefined {
  const kind = String(status)[0]!
  const found =
    responses[status] ?? responses[`${kind}xx`] ?? responses[`${kind}XX`] ?? responses['default']
  return isNode(found) ? found : undefined
}

function schemaOf(entry: unknown): SchemaNode | undefined {
  return isNode(entry) && isNode(entry['schema']) ? entry['schema'] : undefined
}
