/** The routes: the collector of violation reports, and security.txt. */
import { clientKey, type Clock, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_MALFORMED_REPORT,
  PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS,
} from '../errors.ts'
import { createReportDeduplication, createReportLimiter } from '../reports/limits.ts'
import type { ReportsSettings } from '../reports/options.ts'
import { readReports } from '../reports/read-reports.ts'
import { renderSecurityTxt, SECURITY_TXT_PATH, type SecurityTxt } from '../reports/security-txt.ts'

const MEDIA_TYPES = ['application/reports+json', 'application/csp-report']
const RETRY_AFTER_SECONDS = 60

/** The error responses of Fastify; those of the app's error handler may have other members. */
const error = {
  description: 'An error with its code',
  type: 'object',
  additionalProperties: true,
  properties: {
    code: { type: 'string' },
    error: { type: 'string' },
    message: { type: 'string' },
    statusCode: { type: 'integer' },
  },
} as const

const reportsSchema = {
  operationId: 'reportViolations',
  summary: 'Accept violation reports from browsers',
  description:
    'Browsers post reports of violated policies here. Each new report is emitted as an event without queries, identifiers and other possible secrets.',
  tags: ['security'],
  consumes: MEDIA_TYPES,
  response: {
    204: { type: 'null', description: 'The reports were accepted' },
    '4xx': error,
    '5xx': error,
  },
}

/**
 * What the routes declare to plugins that authenticate and authorize requests, whatever their order.
 * Plain data, because no plugin imports another one. @param reason why everyone may send requests
 */
function publicRoute(reason: string): object {
  return { sessions: 'ignored', rbac: { public: reason } }
}

/** Adds the route for violation reports. */
export async function addReportsRoute(
  app: FastifyInstance,
  settings: ReportsSettings,
  clock: Clock,
  securityEvents: SecurityEvents,
): Promise<void> {
  const { path, maxBodyBytes } = settings
  // In a context of its own, so that other routes do not accept these media types.
  await app.register(async (child) => {
    child.removeAllContentTypeParsers()
    child.addContentTypeParser(
      MEDIA_TYPES,
      { parseAs: 'string', bodyLimit: maxBodyBytes },
      child.getDefaultJsonParser('error', 'error'),
    )
    child.route({
      method: 'POST',
      url: path,
      bodyLimit: maxBodyBytes,
      config: {
        ...publicRoute('browsers send reports without a login'),
        securityHeaders: {
          preset: 'api',
          isolation: { scope: 'cross-site', reason: 'browsers send reports without an origin' },
          csrfExempt: 'browsers send reports without a page that could add a token',
        },
      },
      schema: reportsSchema,
      handler: createReportsHandler(settings, clock, securityEvents),
    })
  })
}

function createReportsHandler(
  settings: ReportsSettings,
  clock: Clock,
  securityEvents: SecurityEvents,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const isWithinLimits = createReportLimiter(settings, clock)
  const deduplicate = createReportDeduplication(settings, clock)
  return async (request, reply) => {
    const reports = readReports(request.body)
    if (reports === null) throw new PARAPET_SECURITY_HEADERS_MALFORMED_REPORT()
    if (!isWithinLimits(clientKey(request.ip), reports.length)) {
      void reply.header('retry-after', String(RETRY_AFTER_SECONDS))
      throw new PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS()
    }
    for (const report of reports) {
      const suppressed = deduplicate(report)
      if (suppressed === null) continue
      const details = { ...report, suppressed }
      securityEvents.emit('security_headers.violation_reported', { details }, request)
    }
    await reply.code(204).send()
  }
}

/** Adds `/.well-known/security.txt`. @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION below a prefix */
export function addSecurityTxtRoute(app: FastifyInstance, file: SecurityTxt): void {
  if (app.prefix !== '') {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  "securityTxt" must be served at ${SECURITY_TXT_PATH}, not below ${app.prefix}: register the plugin without a prefix`,
    )
  }
  const text = renderSecurityTxt(file)
  app.get(
    SECURITY_TXT_PATH,
    {
      config: {
        ...publicRoute('the file is meant for everyone'),
        securityHeaders: {
          preset: 'api',
          isolation: { scope: 'cross-site', reason: 'the file is meant for everyone' },
        },
      },
      schema: {
        operationId: 'getSecurityTxt',
        summary: 'Get security.txt: where to report a vulnerability',
        description: 'The file of RFC 9116 with contacts, policies and an expiry date.',
        tags: ['security'],
        response: {
          200: {
            description: 'The file',
            content: { 'text/plain': { schema: { type: 'string' } } },
          },
          '4xx': error,
          '5xx': error,
        },
      },
    },
    async (_request, reply) => reply.type('text/plain; charset=utf-8').send(text),
  )
}
