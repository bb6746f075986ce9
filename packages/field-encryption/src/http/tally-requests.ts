/** Gives each request its tally of decrypted values, and reports it before the response leaves. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { PrincipalReader } from './caller.ts'
import type { DecryptionReports } from '../reports/decryption-reports.ts'
import { RequestTally } from '../reports/request-tally.ts'

const kTally = Symbol('@parapet/field-encryption:tally')

interface TalliedRequest {
  [kTally]?: RequestTally | null
}

/**
 * The tally of a request; `null` before the hooks of this plugin have run. Requests of a context that
 * was created before the decorator have no such member.
 */
export function tallyOf(request: FastifyRequest): RequestTally | null {
  return (request as unknown as TalliedRequest)[kTally] ?? null
}

/**
 * Adds the hooks.
 *
 * @param isUsed whether the app has a table; without one there is nothing to tally.
 * @returns reports what a request has decrypted so far, with its principal.
 */
export function tallyRequests(
  app: FastifyInstance,
  reports: DecryptionReports,
  principalOf: PrincipalReader,
  isUsed: () => boolean,
): (request: FastifyRequest) => Promise<void> | undefined {
  const finish = (request: FastifyRequest): Promise<void> | undefined => {
    const tally = tallyOf(request)
    if (tally === null || tally.isEmpty) return undefined
    return finishTally(tally, request)
  }
  const finishTally = async (tally: RequestTally, request: FastifyRequest): Promise<void> => {
    try {
      // An event names the principal only after a mapping has run.
      await principalOf.load(request)
      principalOf(request)
    } catch (error) {
      request.log.warn({ err: error }, 'field-encryption: the option "principal" failed.')
    }
    reports.finish(tally)
  }

  app.decorateRequest(kTally, null)

  app.addHook('onRequest', (request, _reply, done) => {
    if (!isUsed()) return done()
    const tally = new RequestTally(request)
    ;(request as unknown as TalliedRequest)[kTally] = tally
    return reports.run(tally, done)
  })

  app.addHook('preValidation', (request, _reply, done) => {
    // A body arrives on events of the socket, where the context of onRequest is lost.
    const tally = tallyOf(request)
    return tally === null ? done() : reports.run(tally, done)
  })

  // What a stream, or a handler that hijacked its reply, decrypted in the end.
  app.addHook('onResponse', async (request) => finish(request))
  return finish
}
