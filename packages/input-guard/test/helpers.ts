/** What the tests of this package share. */
import { createManualClock, problemErrorHandler, type SecurityEvent } from '@parapet/kit'
import { inputGuard, type InputGuardOptions } from '@parapet/input-guard'
import { Type, type TSchema } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'

export const clock = createManualClock(Date.UTC(2026, 10, 26, 12))

export interface Built {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
}

/** An app with the plugin and problem details. */
export async function build(t: Test, options: InputGuardOptions = {}): Promise<Built> {
  const app = Fastify({ routerOptions: { maxParamLength: 500 } })
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  await app.register(inputGuard, { audit: 'off', clock, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events }
}

/** Sends JSON, or a text as it is. */
export function post(
  app: FastifyInstance,
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<LightMyRequestResponse> {
  return app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
  })
}

/** The result of a type: the value that the handler got, or the code of the fault. */
export type Verdict = { readonly value: unknown } | { readonly code: string }

/** Checks values of one type in an app. */
export async function createChecker(
  t: Test,
  schema: TSchema,
  options: InputGuardOptions = {},
): Promise<(value: unknown) => Promise<Verdict>> {
  const { app } = await build(t, { json: { maxStringBytes: 1_000_000 }, ...options })
  let handled: unknown
  app.post('/', { schema: { body: Type.Object({ value: schema }) } }, async ({ body }) => {
    handled = (body as { value: unknown }).value
    return 'ok'
  })
  await app.ready()
  return async (value) => {
    handled = undefined
    const reply = await post(app, '/', { value })
    if (reply.statusCode === 200) return { value: handled }
    if (handled !== undefined) t.fail('the handler ran')
    const problem = reply.json<{ code: string; errors?: { code: string }[] }>()
    return { code: problem.errors?.[0]?.code ?? problem.code }
  }
}

/** Returns what each value becomes: the value itself, or `!code`. */
export async function verdicts(
  check: (value: unknown) => Promise<Verdict>,
  values: readonly unknown[],
): Promise<unknown[]> {
  const results: unknown[] = []
  for (const value of values) {
    const verdict = await check(value)
    results.push('code' in verdict ? `!${verdict.code}` : verdict.value)
  }
  return results
}
