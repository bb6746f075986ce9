/** Responses to URLs that the router refuses. Fastify runs no hook for them. */
import { problemErrorHandler } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The public response for each of Fastify's error codes. */
const FRAMEWORK_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  FST_ERR_BAD_URL: [400, 'The URL is not validly encoded'],
  FST_ERR_MAX_PARAM_LENGTH: [414, 'A part of the URL is too long'],
}

/**
 * Responds with problem details that do not repeat the URL. Pass it to Fastify as `frameworkErrors`.
 */
export function answerFrameworkError(
  { code }: { readonly code: string },
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const [statusCode, message] = FRAMEWORK_ERRORS[code] ?? [500, 'The request could not be routed']
  reply.headers(request.server.securityHeaders.headers)
  problemErrorHandler(Object.assign(new Error(message), { statusCode, code }), request, reply)
}
