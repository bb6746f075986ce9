/** What routes declare under `config.anomaly`, compiled as they are declared. */
import { compileRouteRule, type RouteRules } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_ANOMALY_GUARD_INVALID_RULE } from '../errors.ts'
import { findExcludedField, findFieldsProblem, findWithoutProblem } from '../inspect/settings.ts'
import type { AttackClass, FieldTreatment } from '../inspect/types.ts'

/** How the payload of one route is inspected; what is left out is as in the options. */
export interface RouteInspection {
  readonly fields?: Readonly<Record<string, FieldTreatment>>
  readonly without?: readonly AttackClass[]
}

/** What a route declares. */
export interface AnomalyRule {
  /** A successful request is also a signal of this name: `export`, `file`, or one for your own rules. */
  readonly tag?: string
  /** Members of the query that name a resource, as parameters of the path do: `['id']`. @default [] */
  readonly ids?: readonly string[]
  /**
   * The login name that the body aims at. While that account is attacked from many addresses, a client has to
   * solve a challenge before the handler runs; without the option `challenge`, its logins are limited.
   */
  readonly account?: (request: FastifyRequest) => unknown
  /**
   * The password that the body tries, so that one password on many accounts is recognised from any address. Read
   * only with `account`; hashed at once with the option `secret`, and part of no event. A text counts.
   */
  readonly secret?: (request: FastifyRequest) => unknown
  /** `false` switches the inspection of the payload off. @default as in the options */
  readonly inspect?: false | RouteInspection
  /** The route answers in lockdown, without a challenge, and while read-only, such as a health check. */
  readonly open?: boolean
  /** `false`: its requests are not counted, such as those of a health check. @default true */
  readonly watch?: boolean
}

/** A rule as the request path uses it. */
export interface CompiledRoute {
  readonly pattern: string
  readonly idParameters: readonly string[]
  readonly idMembers: readonly string[]
  readonly tag: string | undefined
  readonly account: AnomalyRule['account']
  readonly secret: AnomalyRule['secret']
  readonly inspect: false | RouteInspection | undefined
  readonly isOpen: boolean
  readonly isWatched: boolean
  /** A pattern for everything, such as the fallback of a web app: it matches what a scanner asks for. */
  readonly isFallback: boolean
}

const KEYS = ['tag', 'ids', 'account', 'secret', 'inspect', 'open', 'watch']
const TAG = /^[a-z][a-z0-9-]{0,63}$/

/** Compiles the rules of the routes that are declared from now on. */
export function compileRules(app: FastifyInstance, plugin: string): RouteRules<CompiledRoute> {
  return compileRouteRule<CompiledRoute>(app, {
    plugin,
    key: 'anomaly',
    compile: ({ raw, route, name }) => {
      const rule = readRule(raw, name)
      const { tag, ids = [], account, secret, inspect, open = false, watch = true } = rule
      const problem = findInspectProblem(inspect, route.schema)
      if (problem !== undefined) throw new PARAPET_ANOMALY_GUARD_INVALID_RULE(name, problem)
      return Object.freeze({
        pattern: route.url,
        idParameters: [...route.url.matchAll(/:([A-Za-z0-9_]+)/g)].map(([, id]) => id!),
        idMembers: ids,
        tag,
        account,
        secret,
        inspect,
        isOpen: open,
        isWatched: watch,
        isFallback: /^\/?\*$/.test(route.url),
      })
    },
  })
}

function readRule(raw: unknown, route: string): AnomalyRule {
  if (raw === undefined) return {}
  const refuse = (problem: string): never => {
    throw new PARAPET_ANOMALY_GUARD_INVALID_RULE(route, problem)
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) refuse('it must be an object')
  const rule = raw as AnomalyRule
  for (const key of Object.keys(rule)) {
    if (!KEYS.includes(key)) refuse(`"${key}" is unknown, known are ${KEYS.join(', ')}`)
  }
  const { tag, ids, account, secret, open, watch } = rule
  for (const [key, value] of Object.entries({ account, secret })) {
    if (value !== undefined && typeof value !== 'function') refuse(`"${key}" must be a function`)
  }
  if (ids !== undefined && !(Array.isArray(ids) && ids.every((id) => typeof id === 'string'))) {
    refuse('"ids" must be a list of names of query members')
  }
  if (tag !== undefined && !(typeof tag === 'string' && TAG.test(tag))) {
    refuse('"tag" must be lower-case letters, digits and hyphens')
  }
  for (const [key, value] of [
    ['open', open],
    ['watch', watch],
  ] as const) {
    if (value !== undefined && typeof value !== 'boolean') refuse(`"${key}" must be true or false`)
  }
  return rule
}

function findInspectProblem(inspect: unknown, schema: object | undefined): string | undefined {
  if (inspect === undefined || inspect === false) return undefined
  if (typeof inspect !== 'object' || inspect === null) return '"inspect" must be false or an object'
  const { fields = {}, without = [], ...unknown } = inspect as Readonly<Record<string, unknown>>
  const [surplus] = Object.keys(unknown)
  if (surplus !== undefined) return `"inspect.${surplus}" is unknown, known are fields, without`
  const ofFields = findFieldsProblem(fields)
  if (ofFields !== undefined) return `"inspect.fields" ${ofFields}`
  const ofClasses = findWithoutProblem(without)
  if (ofClasses !== undefined) return `"inspect.without" ${ofClasses}`
  const excluded = findExcludedField(fields as object, schema ?? {})
  return excluded && `"inspect.fields" has the location "${excluded}", which the schema excludes`
}
