/** Helpers that check both outcomes of a request: allowed, or refused before the handler runs. */
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'

const codes = {
  401: 'PARAPET_RBAC_UNAUTHENTICATED',
  403: 'PARAPET_RBAC_DENIED',
  503: 'PARAPET_RBAC_STALE',
} as const

/** A status with which the plugin refuses a request. */
type RefusalStatus = keyof typeof codes

/** An app and the routes whose handlers have run, in order. */
export interface Guarded {
  readonly app: FastifyInstance
  readonly handled: readonly string[]
}

/** Records the routes whose handlers run. Call it before the routes are declared. */
export function recordHandlers(app: FastifyInstance): string[] {
  const handled: string[] = []
  app.addHook('onRoute', (route) => {
    const { handler, method, url } = route
    route.handler = function record(request, reply) {
      handled.push(`${String(method)} ${url}`)
      const result: unknown = handler.call(this, request, reply)
      return result
    }
  })
  return handled
}

/** Checks the status and the code of a refusal. */
export function checkRefusal(
  t: Test,
  reply: LightMyRequestResponse,
  status: RefusalStatus,
  message = `refused with ${status}`,
): void {
  t.equal(reply.statusCode, status, message)
  // The reply to HEAD has no body.
  if (reply.body !== '') t.equal(reply.json<{ code: string }>().code, codes[status], message)
}

/** Checks that a request is refused with status and code, and that no handler runs. */
export async function refuses(
  t: Test,
  { app, handled }: Guarded,
  status: RefusalStatus,
  request: InjectOptions,
  message?: string,
): Promise<LightMyRequestResponse> {
  const before = handled.length
  const reply = await app.inject(request)
  checkRefusal(t, reply, status, message)
  t.equal(handled.length, before, 'the handler does not run')
  return reply
}

/** Checks that a request is allowed. */
export async function allows(
  t: Test,
  { app }: Pick<Guarded, 'app'>,
  request: InjectOptions,
  message = 'allowed',
): Promise<LightMyRequestResponse> {
  const reply = await app.inject(request)
  t.equal(reply.statusCode, 200, message)
  return reply
}

/** A promise that a test resolves from a callback. */
export function createSignal(): { readonly received: Promise<void>; readonly send: () => void } {
  const sent: (() => void)[] = []
  const received = new Promise<void>((resolve) => void sent.push(resolve))
  return { received, send: () => sent[0]!() }
}
