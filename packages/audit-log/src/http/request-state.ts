/** What the plugin keeps about a request while it is in progress. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuditReceipt } from '../pipeline/writer.ts'
import type { CompiledRule } from './route-rule.ts'

/** The key of the state on a request. */
export const kState = Symbol('@parapet/audit-log:state')

/** A request with its state; `null` before `onRequest`. */
export type StatefulRequest = FastifyRequest & { [kState]: RequestState | null }

/** The state of one request. */
export class RequestState {
  readonly request: StatefulRequest
  readonly reply: FastifyReply
  readonly rule: CompiledRule | undefined
  /** Records that must be on disk before the reply is sent. */
  readonly pending: Promise<unknown>[] = []
  attemptId: string | undefined
  /** The record of a client that left, while it is being written. */
  leaving: Promise<unknown> | undefined
  errorCode: string | undefined
  /** Whether all hooks before the handler let the request pass. */
  reached = false
  /** Whether the outcome was recorded. */
  done = false
  /** Whether the reply was sent completely, or the client left. */
  isClosed = false

  constructor(request: StatefulRequest, reply: FastifyReply, rule: CompiledRule | undefined) {
    this.request = request
    this.reply = reply
    this.rule = rule
  }

  /** Makes the reply wait for a record. */
  hold(written: Promise<AuditReceipt>): void {
    if (!this.done) this.pending.push(written)
  }

  /** The status of the reply; a handler that called `hijack` wrote it without Fastify. */
  get status(): number {
    const { raw, statusCode } = this.reply
    return raw.headersSent ? raw.statusCode : statusCode
  }
}
