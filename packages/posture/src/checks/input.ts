/** Checks of validation and injection. */
import { hitsOf, plainOf, repliesOf, type Facts } from '../facts/facts.ts'
import { hasSchema, type RouteFacts } from '../facts/route.ts'
import { ATTACKER } from '../probe/probe-values.ts'
import { isExponential } from '../source/pattern-ambiguity.ts'
import { headerOf } from '../facts/reply.ts'
import { findOpenObjects, findPatterns, findUnbounded } from './schema-faults.ts'
import {
  counted,
  failOr,
  listed,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

const MOST_BYTES = 10 * 1024 * 1024

const bodies = (facts: Facts) =>
  facts.routes.filter(({ method }) => ['POST', 'PUT', 'PATCH'].includes(method))
const readsBody = ({ handler }: RouteFacts) =>
  handler === undefined || /\bbody\b/.test(handler.text) || handler.text.includes('[native code]')

const checkBodies: Check = (facts) => {
  const routes = bodies(facts).filter((route) => readsBody(route) || hasSchema(route.schema.body))
  if (facts.target === 'site') return manual('schemas are not seen from outside')
  if (routes.length === 0) return notApplicable('no route reads a body')
  const bare = routes.filter(
    (route) =>
      !hasSchema(route.schema.body) && !isUpload(route.schema) && !isAccepted(facts, route),
  )
  return failOr(
    bare.map(({ name }) => ({
      where: name,
      evidence: 'reads request.body, and has no schema.body',
    })),
    pass(`${counted(routes.length, 'route')} with a schema of the body`),
  )
}

/** A form with files is validated by its parser. */
function isUpload({ headers }: RouteFacts['schema']): boolean {
  return /multipart/.test(JSON.stringify(headers ?? {}))
}

/** input-guard examines every body at boot; routes of its own kind say why they need no schema. */
function isAccepted({ plugins }: Facts, { name, url }: RouteFacts): boolean {
  return (
    plugins.unbounded !== undefined &&
    !plugins.unbounded.some((each) => each.includes(name) || each.includes(url))
  )
}

const checkParameters: Check = (facts) => {
  if (facts.target === 'site') return manual('schemas are not seen from outside')
  const faults = facts.routes.flatMap(({ name, url, schema, handler }): Fault[] => {
    const text = handler?.text ?? ''
    const readsQuery =
      /\b(?:req|request)\.query\b|\{[^{}]*\bquery\b[^{}]*\}\s*(?:,|\)|=\s*(?:req|request)\b)/.test(
        text,
      )
    if (readsQuery && !hasSchema(schema.querystring))
      return [{ where: name, evidence: 'reads request.query, and has no schema.querystring' }]
    const readsParams = /:\w/.test(url) && /\bparams\b/.test(text)
    return readsParams && !hasSchema(schema.params)
      ? [{ where: name, evidence: 'reads request.params, and has no schema.params' }]
      : []
  })
  return failOr(faults, pass('every handler that reads a query or a parameter has a schema'))
}

const checkBounds: Check = (facts) => {
  if (facts.target === 'site') return manual('schemas are not seen from outside')
  const { unbounded } = facts.plugins
  if (unbounded !== undefined) {
    return failOr(
      unbounded.map((each) => ({ where: each, evidence: 'is not bounded' })),
      pass('input-guard found every input bounded'),
    )
  }
  let schemas = 0
  const faults = facts.routes.flatMap((route) =>
    (['body', 'querystring', 'params'] as const).flatMap((part): Fault[] => {
      const schema = route.schema[part]
      if (!hasSchema(schema)) return []
      schemas++
      const found = findUnbounded(schema)
      return found.length === 0
        ? []
        : [
            {
              where: route.name,
              evidence: `${part}: ${listed(found)}`,
              key: `${route.name} ${part}`,
            },
          ]
    }),
  )
  return schemas === 0
    ? notApplicable('no route has a schema (see VAL-01)')
    : failOr(faults, pass(`${counted(schemas, 'schema')} with bounds`))
}

const checkMembers: Check = (facts) => {
  if (facts.target === 'site') return manual('schemas are not seen from outside')
  const routes = bodies(facts).filter(({ schema }) => hasSchema(schema.body))
  if (routes.length === 0) return notApplicable('no route has a schema of the body')
  if (facts.plugins.unbounded !== undefined)
    return pass('input-guard refuses or removes unknown members')
  const faults = routes.flatMap(({ name, schema }) => {
    const open = findOpenObjects(schema.body)
    return open.length === 0
      ? []
      : [{ where: name, evidence: `${listed(open)} accepts any member`, key: name }]
  })
  return failOr(faults, pass(`${counted(routes.length, 'body')} with known members only`))
}

const checkSizes: Check = ({ server, routes }) => {
  if (server === undefined) return manual('send a body of 11 MiB: it must get 413')
  const large = routes.filter(({ bodyLimit, isSafe }) => !isSafe && (bodyLimit ?? 0) > MOST_BYTES)
  const faults = large.map(({ name, bodyLimit }) => ({
    where: name,
    evidence: `bodyLimit ${bodyLimit}`,
  }))
  if (server.bodyLimit > MOST_BYTES) {
    return failOr(
      [{ where: 'bodyLimit', evidence: `${server.bodyLimit} bytes for every route` }],
      pass(''),
    )
  }
  return failOr(
    faults,
    pass(
      `at most ${Math.max(server.bodyLimit, ...routes.map((each) => each.bodyLimit ?? 0))} bytes`,
    ),
  )
}

const checkTime: Check = ({ server }) => {
  if (server === undefined) return manual('open a connection, and send one header a minute')
  return server.requestTimeout > 0
    ? pass(`${server.requestTimeout} ms`)
    : failOr([{ where: 'requestTimeout', evidence: 'is 0: a request may take for ever' }], pass(''))
}

const checkPrototypes: Check = (facts) => {
  const { server } = facts
  const faults: Fault[] = []
  if (server?.onProtoPoisoning === 'ignore')
    faults.push({ where: 'onProtoPoisoning', evidence: 'is "ignore"' })
  if (server?.onConstructorPoisoning === 'ignore')
    faults.push({ where: 'onConstructorPoisoning', evidence: 'is "ignore"' })
  return judgeSource(facts, ['prototype'], 'members that a request names', faults)
}

const checkUploads: Check = (facts) => {
  const types = facts.server?.contentTypes ?? []
  const takesFiles = types.includes('multipart/form-data') || hitsOf(facts, 'upload').length > 0
  if (facts.target === 'site') return manual('find out whether files can be uploaded')
  if (!takesFiles) return notApplicable('no parser takes files')
  if (facts.plugins.names.has('inputGuard'))
    return pass('input-guard receives uploads by rules of size, number and type')
  const found = hitsOf(facts, 'upload').map(({ place }) => place)
  return manual(
    found.length > 0
      ? `set limits at ${listed(found)}`
      : 'review limits, types and names of uploads',
  )
}

/** Files and pages have no members that a schema could list. */
function sendsData(facts: Facts, route: RouteFacts): boolean {
  const reply = plainOf(facts, route)?.reply
  const type = reply === undefined ? '' : headerOf(reply, 'content-type')
  return type === '' || /json/i.test(type)
}

const checkResponses: Check = (facts) => {
  if (facts.target === 'site') return manual('schemas are not seen from outside')
  const routes = facts.routes.filter(
    ({ method, handler, url }) =>
      method !== 'OPTIONS' &&
      /return|send|=>/.test(handler?.text ?? '') &&
      !/^\/(?:health|live|ready|ping|status)/i.test(url),
  )
  const bare = routes.filter(
    (route) => !hasSchema(route.schema.response) && sendsData(facts, route),
  )
  if (routes.length === 0) return notApplicable('no route returns data')
  if (bare.length === routes.length)
    return failOr(
      [
        {
          where: 'every route',
          evidence: `none of ${routes.length} routes has a schema.response`,
          key: 'all',
        },
      ],
      pass(''),
    )
  return failOr(
    bare.map(({ name }) => ({ where: name, evidence: 'has no schema.response' })),
    pass(`${counted(routes.length, 'route')} with a response schema`),
  )
}

const SQL_ERROR =
  /syntax error at or near|unterminated quoted string|SQLITE_ERROR|near ".*": syntax error|You have an error in your SQL syntax|ORA-\d{5}|SQLSTATE\[?|unrecognized token/i

const checkSql: Check = (facts) => {
  const faults = repliesOf(facts, 'quote').flatMap(({ route, reply, request }) => {
    const found = SQL_ERROR.exec(reply.body)?.[0]
    return found === undefined
      ? []
      : [{ where: route, evidence: `${request.url.slice(0, 80)} got "${found}"` }]
  })
  return judgeSource(facts, ['sql'], 'SQL that is built from values', faults)
}

const checkPaths: Check = (facts) => {
  const faults = repliesOf(facts, 'traversal').flatMap(({ route, reply, request }) =>
    /^root:[^:]*:0:0:/m.test(reply.body)
      ? [{ where: route, evidence: `${request.url.slice(0, 80)} returned a file of the system` }]
      : [],
  )
  return judgeSource(facts, ['path'], 'paths that are built from values of a request', faults)
}

const checkRedirects: Check = (facts) => {
  const faults = repliesOf(facts, 'redirect', 'markup').flatMap(({ route, reply, request }) =>
    reply.status >= 300 && reply.status < 400 && headerOf(reply, 'location').startsWith(ATTACKER)
      ? [{ where: route, evidence: `${request.url.slice(0, 80)} led to ${ATTACKER}` }]
      : [],
  )
  return judgeSource(facts, ['redirect'], 'redirects to addresses of a request', faults)
}

/** A member of a body that no schema makes a text may be an operator, such as `{ "$ne": "" }`. */
const checkFilters: Check = (facts) => {
  const members = hitsOf(facts, 'filter-member')
  const faults = facts.routes.flatMap(({ name, schema }): Fault[] => {
    const hit = members.find(({ file }) => file === name)
    return hit === undefined || hasSchema(schema.body)
      ? []
      : [{ where: name, evidence: hit.excerpt, key: name }]
  })
  return judgeSource(facts, ['filter'], 'filters that are parts of a request', faults)
}

const checkPatterns: Check = (facts) => {
  const faults = facts.routes.flatMap(({ name, schema }) =>
    [schema.body, schema.querystring, schema.params].flatMap((part) =>
      findPatterns(part)
        // Ajv compiles them with this flag.
        .filter((pattern) => isExponential(pattern, 'u'))
        .map((pattern) => ({ where: name, evidence: `the pattern ${pattern} is exponential` })),
    ),
  )
  return judgeSource(facts, ['pattern'], 'regular expressions of a request', faults)
}

/** Checks by the id of the line. */
export const inputChecks: Readonly<Record<string, Check>> = {
  'VAL-01': checkBodies,
  'VAL-02': checkParameters,
  'VAL-03': checkBounds,
  'VAL-04': checkMembers,
  'VAL-05': checkSizes,
  'VAL-06': checkTime,
  'VAL-07': checkPrototypes,
  'VAL-08': checkUploads,
  'VAL-09': checkResponses,
  'INJ-01': checkSql,
  'INJ-02': (facts) => judgeSource(facts, ['command'], 'commands of a shell'),
  'INJ-03': (facts) => judgeSource(facts, ['code'], 'text that becomes code'),
  'INJ-04': checkPaths,
  'INJ-05': checkFilters,
  'INJ-06': (facts) => judgeSource(facts, ['ssrf'], 'addresses of a request that are fetched'),
  'INJ-07': checkRedirects,
  'INJ-08': checkPatterns,
  'INJ-09': (facts) =>
    judgeSource(facts, ['deserialization'], 'deserialization of objects with code'),
}
