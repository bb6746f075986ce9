/** `testMatrix`: sends a request to every route as every role and compares the replies to the matrix. */
import type { Principal } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, InjectOptions } from 'fastify'
import { randomUUID } from 'node:crypto'
import { PARAPET_RBAC_MATRIX_MISMATCH } from '../errors.ts'
import type { Matrix, MatrixRow } from '../review/matrix.ts'
import type { Rbac } from './app-rbac.ts'
import type { CreateAccess } from './request-rbac.ts'
import { createGuardHook, type RouteGuard } from './route-guard.ts'

/** How `testMatrix` calls routes. */
export interface TestMatrixOptions {
  /** A URL by route, as `GET /users/:id(^\\d+$)`, for routes whose parameters do not accept `x`. */
  readonly urls?: Readonly<Record<string, string>>
  /** Headers of every request, for example those that another plugin requires. */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * The address of the client, by the number of the request, for apps that limit requests by address.
   * @default 127.0.0.1 for all
   */
  readonly remoteAddress?: (request: number) => string
}

/** The result of `testMatrix`. */
export interface TestMatrixReport {
  /** The number of requests: routes × (roles + 1). */
  readonly checked: number
}

interface Caller {
  readonly name: string
  readonly principal: Principal | null
  readonly isAdmitted: boolean
}

const HEADER = 'x-parapet-probe'
/** The status that the guard sends in place of the handler. */
const ADMITTED = 204
const REFUSED: readonly number[] = [401, 403, 404]
const probesOf = new WeakMap<Rbac, MatrixProbes>()

/**
 * For an application's own tests: sends a request to every route as every role and without a
 * principal, and compares the replies with `app.rbac.matrix()`. All hooks up to the guard run;
 * handlers do not.
 *
 * @throws PARAPET_RBAC_MATRIX_MISMATCH with every route whose reply differs.
 */
export async function testMatrix(
  app: FastifyInstance,
  options: TestMatrixOptions = {},
): Promise<TestMatrixReport> {
  await app.ready()
  const probes = probesOf.get(app.rbac)!
  const stop = probes.start()
  try {
    return await runMatrix(app, app.rbac.matrix(), probes, options)
  } finally {
    stop()
  }
}

/** Makes `testMatrix` work for an app. */
export function allowTestMatrix(rbac: Rbac, guard: RouteGuard, createAccess: CreateAccess): void {
  probesOf.set(rbac, new MatrixProbes(guard, createAccess))
}

/** The requests of running matrices, by a token that clients cannot guess. */
class MatrixProbes {
  readonly #guard: RouteGuard
  readonly #createAccess: CreateAccess
  readonly #principals = new Map<string, Principal | null>()
  #running = 0
  #restore = (): void => {}

  constructor(guard: RouteGuard, createAccess: CreateAccess) {
    this.#guard = guard
    this.#createAccess = createAccess
  }

  /** Replaces the guard until all running matrices have ended, so that other requests cost nothing. */
  start(): () => void {
    if (this.#running++ === 0) this.#restore = this.#install()
    return () => {
      if (--this.#running === 0) this.#restore()
    }
  }

  /** @returns the headers of a request by the principal, and a function that ends it. */
  begin(principal: Principal | null): { headers: Record<string, string>; end: () => void } {
    const token = randomUUID()
    this.#principals.set(token, principal)
    return { headers: { [HEADER]: token }, end: () => void this.#principals.delete(token) }
  }

  #install(): () => void {
    const probe = createGuardHook({
      ...this.#guard.settings,
      load: undefined,
      isReporting: () => false,
      accessOf: (request) => this.#createAccess(request, this.#find(request) ?? null),
      admit: (reply) => void reply.code(ADMITTED).send(),
      admitsConditional: true,
    })
    return this.#guard.replace((guard) => (request, reply, done) => {
      if (this.#find(request) === undefined) guard(request, reply, done)
      else probe(request, reply, done)
    })
  }

  /** Returns the principal of a probe; `undefined`: the request is not a probe. */
  #find(request: FastifyRequest): Principal | null | undefined {
    const token = request.headers[HEADER]
    return typeof token === 'string' ? this.#principals.get(token) : undefined
  }
}

async function runMatrix(
  app: FastifyInstance,
  matrix: Matrix,
  probes: MatrixProbes,
  { urls = {}, headers = {}, remoteAddress = () => '127.0.0.1' }: TestMatrixOptions,
): Promise<TestMatrixReport> {
  const mismatches: string[] = []
  let checked = 0
  for (const row of matrix.rows) {
    for (const { name, principal, isAdmitted } of callersOf(row, matrix)) {
      const probe = probes.begin(principal)
      try {
        const { statusCode } = await app.inject({
          ...requestFor(row, urls, { ...headers, ...probe.headers }),
          remoteAddress: remoteAddress(checked),
        })
        checked++
        const isAsExpected = isAdmitted ? statusCode === ADMITTED : REFUSED.includes(statusCode)
        if (!isAsExpected) {
          const expected = isAdmitted ? 'admitted' : 'refused'
          mismatches.push(
            `  ${row.method} ${row.url}: ${name} should be ${expected}, got status ${statusCode}`,
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

/** A conditional right is admitted: only the second half of the guard needs the resource. */
function callersOf(row: MatrixRow, { roles }: Matrix): Caller[] {
  return [
    { name: 'anonymous', principal: null, isAdmitted: row.anonymous === 'allow' },
    ...roles.map((role) => ({
      name: `role "${role}"`,
      principal: { id: 'matrix-test', roles: [role] },
      isAdmitted: row.roles[role] !== 'deny',
    })),
  ]
}

function requestFor(
  { method, url }: MatrixRow,
  urls: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
): InjectOptions {
  const name = `${method} ${url}`
  const path = Object.hasOwn(urls, name) ? urls[name]! : fillParameters(url)
  return { method, url: path, headers }
}

/** `/users/:id/files/*` → `/users/x/files/x` */
function fillParameters(pattern: string): string {
  return pattern
    .replaceAll(/:\w+(?:\((?:[^()]|\([^()]*\))*\))?\??/g, (name) =>
      name.includes('\\d') ? '1' : 'x',
    )
    .replaceAll('*', 'x')
    .replaceAll('::', ':')
}
