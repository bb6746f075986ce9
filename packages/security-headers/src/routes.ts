/** The routes: the collector of reports, and security.txt. */
import { clientKey, type Clock, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_MALFORMED_REPORT,
  PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS,
} from './errors.ts'
import type { SecurityHeadersSettings } from './options.ts'
import { createReportGate, readReports } from './reports.ts'
import type { SecurityHeadersRule } from './route-rule.ts'
import { daysLeft, renderSecurityTxt, SECURITY_TXT_PATH, type SecurityTxt } from './security-txt.ts'

const MEDIA_TYPES = ['application/reports+json', 'application/csp-report']
const DAY_MS = 86_400_000
/** From so many days before the end security.txt is told to be old. */
const WARN_DAYS = 30

const noReply = { type: 'null', description: 'No body' } as const
/** Fastify's own error replies; those of an error handler of the app pass as they are. */
const problem = {
  description: 'What was wrong',
  type: 'object',
  additionalProperties: true,
  properties: {
    code: { type: 'string' },
    error: { type: 'string' },
    message: { type: 'string' },
    statusCode: { type: 'integer' },
  },
} as const

const reportsRule: SecurityHeadersRule = {
  preset: 'api',
  isolation: { scope: 'cross-site', reason: 'browsers send reports from nowhere' },
  csrfExempt: 'browsers send reports without a page',
}
const reportsSchema = {
  operationId: 'reportViolations',
  summary: 'Takes violation reports of browsers',
  tags: ['security'],
  consumes: MEDIA_TYPES,
  response: { 204: noReply, '4xx': problem, '5xx': problem },
}

/** Adds the routes that the settings ask for. */
export async function addRoutes(
  app: FastifyInstance,
  settings: SecurityHeadersSettings,
  securityEvents: SecurityEvents,
): Promise<void> {
  // A context of its own: the media types are nobody else's.
  await app.register(async (child) => addReports(child, settings, securityEvents))
  addSecurityTxt(app, settings, securityEvents)
}

function addReports(
  app: FastifyInstance,
  { reports, clock }: SecurityHeadersSettings,
  securityEvents: SecurityEvents,
): void {
  if (reports === undefined) return
  const gate = createReportGate(reports, clock)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    MEDIA_TYPES,
    { parseAs: 'string', bodyLimit: reports.maxBodyBytes },
    app.getDefaultJsonParser('error', 'error'),
  )
  app.route({
    method: 'POST',
    url: reports.path,
    bodyLimit: reports.maxBodyBytes,
    config: { securityHeaders: reportsRule },
    schema: reportsSchema,
    handler: takeReports,
  })

  async function takeReports(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const found = readReports(request.body)
    if (found === null) throw new PARAPET_SECURITY_HEADERS_MALFORMED_REPORT()
    if (!gate.takes(clientKey(request.ip), found.length)) {
      void reply.header('retry-after', '60')
      throw new PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS()
    }
    for (const report of found) {
      const { admitted, suppressed } = gate.admit(report)
      if (!admitted) continue
      securityEvents.emit(
        'security_headers.violation_reported',
        { details: { ...report, suppressed } },
        request,
      )
    }
    await reply.code(204).send()
  }
}

function addSecurityTxt(
  app: FastifyInstance,
  { securityTxt, clock }: SecurityHeadersSettings,
  securityEvents: SecurityEvents,
): void {
  if (securityTxt === undefined) return
  if (app.prefix !== '') {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  securityTxt: is looked for at ${SECURITY_TXT_PATH}, not below ${app.prefix}`,
    )
  }
  const text = renderSecurityTxt(securityTxt)
  app.get(
    SECURITY_TXT_PATH,
    {
      config: {
        securityHeaders: {
          preset: 'api',
          isolation: { scope: 'cross-site', reason: 'it is meant for everyone' },
        },
      },
      schema: {
        operationId: 'getSecurityTxt',
        summary: 'Whom to tell of a weakness',
        tags: ['security'],
        produces: ['text/plain'],
        response: { 200: { type: 'string' }, '4xx': problem, '5xx': problem },
      },
    },
    async (_request, reply) => reply.type('text/plain; charset=utf-8').send(text),
  )
  watchAge(app, securityTxt, clock, securityEvents)
}

function watchAge(
  app: FastifyInstance,
  file: SecurityTxt,
  clock: Clock,
  securityEvents: SecurityEvents,
): void {
  let cancel: (() => void) | undefined
  const check = (): void => {
    const left = daysLeft(file, clock.now())
    if (left <= WARN_DAYS) {
      const details = { expires: file.expires, daysLeft: left }
      securityEvents.emit('security_headers.security_txt_aged', { details })
    }
    cancel = clock.schedule(DAY_MS, check)
  }
  app.addHook('onReady', async () => check())
  app.addHook('onClose', async () => cancel?.())
}
