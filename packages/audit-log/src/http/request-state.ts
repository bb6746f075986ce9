/** What the plugin keeps about a request while it is in progress. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Markable } from '../record/fields.ts'
import type { AuditReceipt } from '../pipeline/writer.ts'
import type { CompiledRule } from './route-rule.ts'

/** The state of one request. */
export interface RequestState {
  readonly rule: CompiledRule | undefined
  /** Records that must be on disk before the reply is sent. */
  readonly pending: Promise<unknown>[]
  attemptId: string | undefined
  errorCode: string | undefined
  /** Whether the outcome was recorded. */
  done: boolean
}

/** The key of the state on a request. */
export const kState = Symbol('@parapet/audit-log:state')

/** A request with its state; `null` before `onRequest`. */
export type StatefulRequest = FastifyRequest & { [kState]: RequestState | null }

/** Makes the state of a request. */
export function createState(rule: CompiledRule | undefined): RequestState {
  return { rule, pending: [], attemptId: undefined, errorCode: undefined, done: false }
}

/** Makes the reply wait for a record. */
export function holdReply(state: RequestState | null, written: Promise<AuditReceipt>): void {
  // The reply waits for the promise itself; a rejection that nothing else handles must not end the process.
  written.catch(() => {})
  if (state !== null && !state.done) state.pending.push(written)
}

/**
 * The resource id of a request. The app's function may throw, for example because a refused request
 * has no body; the record must still be written.
 */
export function resourceIdOf(request: FastifyRequest, rule: CompiledRule): Markable | undefined {
  try {
    return rule.resourceId(request)
  } catch {
    return undefined
  }
}

/** The status of a reply; a handler that called `hijack` wrote it without Fastify. */
export function statusOf(reply: FastifyReply): number {
  return reply.raw.headersSent ? reply.raw.statusCode : reply.statusCode
}
