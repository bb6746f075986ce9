/**
 * Runs playbooks for incidents, with deadlines that survive a restart.
 *
 * Security events become findings, findings become one incident, and an incident runs responses and playbooks through
 * actions that the app gives. What must happen later is stored with what causes it.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { events } from './events.ts'
import { createEventIntake } from './http/event-intake.ts'
import { reportEntry } from './http/event-reporter.ts'
import { createFeeds } from './http/feed.ts'
import { createRoutes, type IncidentRoutesOptions } from './http/routes.ts'
import { createOwnJobs, resolveOptions, type IncidentResponseOptions } from './options.ts'
import type { Incidents } from './service/incidents-api.ts'
import { openService } from './service/open-service.ts'

export type { Action, ActionCall, ActionResult, Actions } from './actions/action.ts'
export { builtInPlaybooks } from './built-in/built-in.ts'
export type { CacaoPlaybook } from './cacao/cacao.ts'
export { exportCacao, type CacaoExportOptions } from './cacao/export-cacao.ts'
export { importCacao, type CacaoImportOptions } from './cacao/import-cacao.ts'
export * from './errors.ts'
// A type export keeps the typed events in the published declarations; a bare import would be dropped.
export type * from './events.ts'
export {
  builtInFindings,
  type EventFinding,
  type ObservedEvent,
} from './findings/event-findings.ts'
export { builtInResponses, type ResponseRule } from './findings/response-rules.ts'
export type { IncidentAccess, IncidentRoutesOptions } from './http/routes.ts'
export type { Finding } from './incidents/finding.ts'
export type * from './incidents/incident.ts'
export { createMailNotifier, type MailOptions } from './notify/mail.ts'
export type { Message, MessageReason, Notifier } from './notify/notifier.ts'
export type { QuietHours } from './notify/quiet-hours.ts'
export { allowPrivateTarget } from './notify/safe-target.ts'
export {
  createPagerDutyNotifier,
  createSlackNotifier,
  createWebhookNotifier,
  type PagerDutyOptions,
  type SlackOptions,
  type WebhookOptions,
} from './notify/webhook.ts'
export type { Escalation, IncidentResponseOptions } from './options.ts'
export type { PlaybookSource } from './playbooks/library.ts'
export type { Playbook, Step } from './playbooks/playbook.ts'
export { playbookSchema } from './playbooks/playbook-schema.ts'
export type { IncidentMetrics } from './report/metrics.ts'
export type { PostMortem } from './report/post-mortem.ts'
export type { Run, StepRecord } from './runs/run.ts'
export type { Drill } from './service/drill.ts'
export type { DeadLetter, Incidents } from './service/incidents-api.ts'
export type { Simulation } from './service/simulate.ts'

/** The decorator `app.incidents`. */
export interface IncidentsDecorator extends Incidents {
  /** The routes: register them with a `prefix` and a `guard`. */
  readonly routes: FastifyPluginAsync<IncidentRoutesOptions>
}

declare module 'fastify' {
  interface FastifyInstance {
    incidents: IncidentsDecorator
  }
}

const NAME = '@parapet/incident-response'

async function incidentResponsePlugin(
  app: FastifyInstance,
  options: IncidentResponseOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'reaction')
  usePrincipal(app)
  const securityEvents = useSecurityEvents(app, events)
  const onError = (error: unknown): void =>
    app.log.error({ err: error }, 'incident-response: a call failed')
  const own = settings.jobs === undefined
  const jobs =
    settings.jobs ??
    createOwnJobs(settings.clock, onError, (notice) => app.log.warn(`incident-response: ${notice}`))
  const { incidents, service, close, start } = await openService(settings, jobs, {
    entry: (entry, incident) => reportEntry(securityEvents, entry, incident),
    error: onError,
  })
  if (!service.store.isDurable) {
    app.log.warn(
      'incident-response stores incidents in memory; they are lost on restart. Set "sql".',
    )
  }
  const { clock, maxFeeds } = settings
  const feeds = createFeeds({ store: service.store, clock, maxFeeds, onError })
  const { programs } = service.library
  const routes = createRoutes({ incidents, feeds, programs }, settings)
  app.decorate('incidents', { ...incidents, routes })
  const stopListening = securityEvents.on(
    '*',
    createEventIntake(settings.findings, incidents, onError),
  )
  app.addHook('onReady', start)
  // Before the server waits for its open connections.
  app.addHook('preClose', async () => feeds.close())
  app.addHook('onClose', async () => {
    stopListening()
    await close()
    if (own) await jobs.close({ drainMs: settings.drainMs })
  })
}

/** The plugin. Register it with `await`, after the plugins whose events it reads. */
export const incidentResponse: FastifyPluginAsync<IncidentResponseOptions> = fp(
  incidentResponsePlugin,
  { name: NAME, fastify: '5.x' },
)
export default incidentResponse
