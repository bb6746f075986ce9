/**
 * A durable, tamper-evident audit trail: records are on disk before the reply, and stand in a
 * signed Merkle log that a stranger can verify.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Audit } from './audit.ts'
import { PARAPET_AUDIT_LOG_UNSAFE_PROXY } from './errors.ts'
import { events } from './events.ts'
import { RequestRecorder, trustsEverybody } from './hooks.ts'
import { resolveOptions, type AuditLogOptions } from './options.ts'
import { openParts } from './parts.ts'
import type { AuditAction, AuditData } from './record/actions.ts'
import type { AuditFields } from './record/recorder.ts'
import type { AuditRule } from './route-hooks.ts'
import { createRoutes, type AuditRoutesOptions } from './routes.ts'
import type { AuditReceipt } from './service.ts'

export { builtInRules, type Alert, type AlertMatch, type AlertRule } from './alerts/rules.ts'
export type { Audit, DoctorCheck } from './audit.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { AuditEntry, ProvenEntry } from './log/reader.ts'
export type { PemKey, RemoteKey } from './log/signer.ts'
export type { AuditLogOptions } from './options.ts'
export type { RecordFilter } from './read/filter.ts'
export {
  defineActions,
  type ActionDefinition,
  type ActionTypes,
  type AuditAction,
  type AuditActionTypes,
  type AuditData,
} from './record/actions.ts'
export { diff, type Change } from './record/diff.ts'
export type { AuditRecord } from './record/leaf.ts'
export { hmac, pii, type FieldRule } from './record/protect.ts'
export type { AuditFields } from './record/recorder.ts'
export { securityLogger, type SecurityLogger } from './record/security-logger.ts'
export type { AuditRule } from './route-hooks.ts'
export type { AuditRoutesOptions } from './routes.ts'
export type { AuditReceipt, AuditStatus } from './service.ts'
export { sinks } from './sinks/index.ts'
export { toCef, toEcs, toOcsf } from './sinks/mappers.ts'
export { SinkRefusal, type AuditSink, type Rejection } from './sinks/follower.ts'
export { grantsFor, migrations, type AuditRoles } from './store/schema.ts'

declare module 'fastify' {
  interface FastifyInstance {
    audit: Audit & {
      /** Routes over the log, to be registered with a prefix and a guard. */
      readonly routes: FastifyPluginAsync<AuditRoutesOptions>
    }
  }
  interface FastifyRequest {
    /**
     * Records what this request did; who, from where and on which route are filled in. The reply
     * waits until the record is on disk, also when the handler does not.
     *
     * @throws PARAPET_AUDIT_LOG_INVALID_RECORD PARAPET_AUDIT_LOG_UNAVAILABLE
     */
    audit<A extends AuditAction>(
      action: A,
      fields?: AuditFields<AuditData<A>>,
    ): Promise<AuditReceipt>
  }
  interface FastifyContextConfig {
    /** The action that calls of this route are recorded as. */
    audit?: AuditAction | AuditRule
  }
}

const NAME = '@parapet/audit-log'

async function auditLogPlugin(app: FastifyInstance, options: AuditLogOptions): Promise<void> {
  const settings = resolveOptions(options)
  if (trustsEverybody(app)) throw new PARAPET_AUDIT_LOG_UNSAFE_PROXY()
  declarePhase(app, NAME, 'record')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const audit = new Audit(await openParts(settings, securityEvents))
  const requests = new RequestRecorder(audit, principalOf)
  requests.addHooks(app)

  app.decorate('audit', Object.assign(audit, { routes: createRoutes(audit, requests.subjectOf) }))
  app.decorateRequest(
    'audit',
    function record(this: FastifyRequest, action: string, fields: AuditFields = {}) {
      return requests.record(this, action, fields)
    },
  )
  const unsubscribe = settings.recordEvents
    ? securityEvents.on('*', (event) => {
        // What this plugin tells of itself it records by itself.
        if (!event.type.startsWith('audit_log.')) requests.recordEvent(event)
      })
    : () => {}
  app.addHook('onReady', async () => {
    // Only now everybody who would hear it does.
    const { cutBytes } = audit.parts.spool.recovered
    if (cutBytes > 0) securityEvents.emit('audit_log.spool_repaired', { details: { cutBytes } })
    for (const check of await audit.doctor()) if (!check.ok) app.log.warn(check, 'audit log')
  })
  app.addHook('onClose', async () => {
    unsubscribe()
    await audit.close()
  })
  await audit.start()
}

/** The plugin. Register it with `await`, first of all plugins and before the routes it is to record. */
export const auditLog: FastifyPluginAsync<AuditLogOptions> = fp(auditLogPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default auditLog
