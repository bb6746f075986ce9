/** `testMatrix`: every route asked as every role, and the answers compared with the matrix. */
import { randomUUID } from 'node:crypto'
import type { Principal } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, InjectOptions } from 'fastify'
import { PARAPET_RBAC_MATRIX_MISMATCH } from './errors.ts'
import type { Matrix, MatrixRow } from './matrix.ts'

/** How `testMatrix` reaches routes that it cannot guess. */
export interface TestMatrixOptions {
  /** A URL for a route, by `GET /users/:id(^\\d+$)`, where `x` does not fit its parameters. */
  readonly urls?: Readonly<Record<string, string>>
  /** Added to every request, for instance what another plugin asks of each. */
  readonly headers?: Readonly<Record<string, string>>
}

/** What `testMatrix` did. */
export interface TestMatrixReport {
  /** How many requests were sent: routes × (roles + 1). */
  readonly checked: number
}

/** Requests of a running {@link runMatrix}, by tokens that nobody outside this process can know. */
export class Probes {
  readonly #principals = new Map<string, Principal | null>()

  /** Whom a request stands for, or `undefined` when it is no probe. */
  find(request: FastifyRequest): { readonly principal: Principal | null } | undefined {
    if (this.#principals.size === 0) return undefined
    const token = request.headers[HEADER]
    const principal = typeof token === 'string' ? this.#principals.get(token) : undefined
    return principal === undefined ? undefined : { principal }
  }

  /** @returns the headers of a request that stands for the principal, and a function that ends it. */
  begin(principal: Principal | null): { headers: Record<string, string>; end: () => void } {
    const token = randomUUID()
    this.#principals.set(token, principal)
    return { headers: { [HEADER]: token }, end: () => void this.#principals.delete(token) }
  }
}

const HEADER = 'x-parapet-probe'
/** What a guard answers that lets a probe pass. */
const PASSED = 204

/**
 * Asks every route as every role and as nobody. Handlers do not run: a guard that lets such a
 * request pass answers it itself.
 *
 * @throws PARAPET_RBAC_MATRIX_MISMATCH
 */
export async function runMatrix(
  app: FastifyInstance,
  matrix: Matrix,
  probes: Probes,
  { urls = {}, headers = {} }: TestMatrixOptions,
): Promise<TestMatrixReport> {
  const mismatches: string[] = []
  let checked = 0
  for (const row of matrix.rows) {
    const callers: [string, Principal | null, string][] = [
      ['anonymous', null, row.anonymous],
      ...matrix.roles.map((role): [string, Principal, string] => [
        `role "${role}"`,
        { id: 'matrix-test', roles: [role] },
        row.roles[role]!,
      ]),
    ]
    for (const [who, principal, cell] of callers) {
      const probe = probes.begin(principal)
      try {
        const request = requestFor(row, urls, { ...headers, ...probe.headers })
        const { statusCode } = await app.inject(request)
        checked++
        // What is conditional passes the guard's first half; its second needs a resource.
        const passes = cell !== 'deny'
        if (
          (statusCode === PASSED) !== passes ||
          (!passes && ![401, 403, 404].includes(statusCode))
        ) {
          mismatches.push(
            `  ${row.method} ${row.url}: ${who} should be ${passes ? 'let in' : 'refused'}, and got ${statusCode}`,
          )
        }
      } finally {
        probe.end()
      }
    }
  }
  if (mismatches.length > 0) throw new PARAPET_RBAC_MATRIX_MISMATCH(mismatches.join('\n'))
  return { checked }
}

function requestFor(
  { method, url }: MatrixRow,
  urls: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
): InjectOptions {
  const name = `${method} ${url}`
  const path = Object.hasOwn(urls, name) ? urls[name]! : fill(url)
  return { method, url: path, headers }
}

/** `/users/:id/files/*` → `/users/x/files/x` */
function fill(pattern: string): string {
  return pattern
    .replaceAll(/:\w+(?:\((?:[^()]|\([^()]*\))*\))?\??/g, (name) =>
      name.includes('\\d') ? '1' : 'x',
    )
    .replaceAll('*', 'x')
    .replaceAll('::', ':')
}
