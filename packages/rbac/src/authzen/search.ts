/** The searches of AuthZEN 1.0 without HTTP. @see AuthZEN Authorization API 1.0, section 8 */
import { createHash } from 'node:crypto'
import { readMember } from '../attributes/attributes.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from '../errors.ts'
import type { Evaluate } from './evaluate.ts'
import { isObject, type AuthzenEvaluation, type AuthzenSubject } from './evaluation.ts'

/** What is searched for. */
export type SearchKind = 'subject' | 'resource' | 'action'

/** Returns subjects of a type in the order of their ids. Fewer than `limit` mean that there are no more. */
export type SubjectLister = (query: {
  readonly type: string
  readonly after: string | undefined
  readonly limit: number
}) => readonly AuthzenSubject[] | Promise<readonly AuthzenSubject[]>

/** Candidates, in the order of their keys. */
export type Candidates = (
  evaluation: AuthzenEvaluation,
  after: string | undefined,
  limit: number,
) => Promise<readonly string[]>

/** The result of a search. */
export interface SearchResult {
  readonly page: { readonly next_token: string; readonly count: number }
  readonly results: readonly Readonly<Record<string, string>>[]
}

interface Search {
  readonly evaluation: AuthzenEvaluation
  readonly after: string | undefined
  readonly limit: number
  readonly digest: string
}

/** The largest page, and the number of candidates that one request decides. */
const MAX_LIMIT = 1000
const MAX_CANDIDATES = 1000

/**
 * Searches: every candidate is decided as an evaluation is, so both agree. A page can have fewer results
 * than its limit; its token says whether there are more.
 *
 * @throws PARAPET_RBAC_MALFORMED_EVALUATION
 */
export async function search(
  kind: SearchKind,
  body: unknown,
  candidates: Candidates,
  evaluate: Evaluate,
): Promise<SearchResult> {
  const { evaluation, after, limit, digest } = readSearch(kind, body)
  const results: Record<string, string>[] = []
  let last = after
  let hasMore = true
  for (let decided = 0; results.length < limit && decided < MAX_CANDIDATES && hasMore;) {
    const wanted = Math.min(limit, MAX_CANDIDATES - decided) + 1
    const found = await candidates(evaluation, last, wanted)
    hasMore = found.length >= wanted
    for (const key of found.slice(0, wanted - 1)) {
      if (results.length === limit) {
        hasMore = true
        break
      }
      decided++
      last = key
      const { asked, result } = ask(kind, evaluation, key)
      if (await evaluate(asked)) results.push(result)
    }
  }
  const token = hasMore ? writeToken(last ?? '', digest) : ''
  return { page: { next_token: token, count: results.length }, results }
}

function ask(kind: SearchKind, evaluation: AuthzenEvaluation, key: string) {
  if (kind === 'action') {
    return { asked: { ...evaluation, action: { name: key } }, result: { name: key } }
  }
  const { type } = evaluation[kind]
  // Properties of the caller describe what is searched for, not a candidate.
  return { asked: { ...evaluation, [kind]: { type, id: key } }, result: { type, id: key } }
}

/** Reads a search: an evaluation without the id, or the action, that is searched for. */
function readSearch(kind: SearchKind, body: unknown): Search {
  const action = kind === 'action' ? {} : readEntity(body, 'action', ['name'])
  const subject = readEntity(body, 'subject', kind === 'subject' ? ['type'] : ['type', 'id'])
  const resource = readEntity(body, 'resource', kind === 'resource' ? ['type'] : ['type', 'id'])
  const context = readMember(body, 'context')
  if (context !== undefined && !isObject(context)) fail('"/context": must be an object')
  const evaluation = { subject, action, resource, ...(context && { context }) } as AuthzenEvaluation
  const page = readMember(body, 'page') ?? {}
  if (!isObject(page)) fail('"/page": must be an object')
  const limit = page['limit'] ?? 100
  if (!Number.isSafeInteger(limit) || (limit as number) < 0) {
    fail('"/page/limit": must be an integer from 0')
  }
  const digest = createHash('sha256')
    .update(JSON.stringify([kind, subject, action, resource, context]))
    .digest('base64url')
    .slice(0, 16)
  const after = readToken(page['token'], digest)
  return { evaluation, after, limit: Math.min(limit as number, MAX_LIMIT), digest }
}

function readEntity(body: unknown, name: string, texts: readonly string[]): object {
  if (!isObject(body)) return fail('the body: must be an object')
  const entity = readMember(body, name)
  if (!isObject(entity)) return fail(`"/${name}": must be an object`)
  const wrong = texts.find((each) => typeof readMember(entity, each) !== 'string')
  if (wrong !== undefined) fail(`"/${name}/${wrong}": must be a string`)
  const properties = readMember(entity, 'properties')
  if (properties !== undefined && !isObject(properties)) {
    fail(`"/${name}/properties": must be an object`)
  }
  return entity
}

/** A token belongs to one search. @see AuthZEN Authorization API 1.0, section 8.2 */
function writeToken(after: string, digest: string): string {
  return Buffer.from(JSON.stringify([digest, after])).toString('base64url')
}

function readToken(token: unknown, digest: string): string | undefined {
  if (token === undefined || token === '') return undefined
  const parts = typeof token === 'string' ? parseToken(token) : undefined
  if (!Array.isArray(parts) || !isId(parts[1])) {
    return fail('"/page/token": must be the next_token of a response')
  }
  if (parts[0] !== digest) fail('"/page/token": belongs to another search')
  return parts[1] === '' ? undefined : parts[1]
}

/** A caller can write any token, and a lister passes the id to its database. */
function isId(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\0')
}

function parseToken(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

function fail(problem: string): never {
  throw new PARAPET_RBAC_MALFORMED_EVALUATION(problem)
}
