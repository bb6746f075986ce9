/**
 * A durable, tamper-evident audit trail. Records are on disk before the reply is sent, and are part of
 * a signed Merkle log that anyone can verify with its public key.
 */
import {
  declarePhase,
  readFastifyInternal,
  trustsEveryProxy,
  usePrincipal,
  useSecurityEvents,
} from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Audit } from './audit.ts'
import { PARAPET_AUDIT_LOG_REGISTERED_TWICE, PARAPET_AUDIT_LOG_UNSAFE_PROXY } from './errors.ts'
import { events } from './events.ts'
import { announce, warnOfChildContext, warnOfEarlierHooks } from './http/boot-log.ts'
import { EventRecorder } from './http/event-recorder.ts'
import { RequestRecorder } from './http/request-recorder.ts'
import { RequestReader } from './http/request-source.ts'
import type { AuditRule } from './http/route-rule.ts'
import { createRoutes, type AuditRoutesOptions } from './http/routes.ts'
import { resolveOptions, type AuditLogOptions } from './options.ts'
import { openParts } from './parts.ts'
import type { AuditReceipt } from './pipeline/writer.ts'
import type { AuditAction, AuditData } from './record/actions.ts'
import type { AuditFields } from './record/fields.ts'

export { builtInRules, type Alert, type AlertMatch, type AlertRule } from './alerts/rules.ts'
export type { Audit, RecordOptions } from './audit.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations; an import without bindings would be dropped.
export type * from './events.ts'
export { toCef } from './formats/cef.ts'
export { toEcs } from './formats/ecs.ts'
export { toOcsf } from './formats/ocsf.ts'
export type { DoctorCheck } from './health/doctor.ts'
export type { AuditStatus } from './health/status.ts'
export type { AuditRule } from './http/route-rule.ts'
export type { AuditRoutesOptions } from './http/routes.ts'
export type { AuditEntry } from './log/entries.ts'
export type { ProvenEntry } from './log/proofs.ts'
export { toTlogProof } from './log/tlog-proof.ts'
export type { PemKey, RemoteKey } from './log/signing-key.ts'
export { ephemeralDirectory, replaceLostKey, type AuditLogOptions } from './options.ts'
export type { AuditReceipt } from './pipeline/writer.ts'
export {
  defineActions,
  type ActionDefinition,
  type ActionTypes,
  type AuditAction,
  type AuditActionTypes,
  type AuditData,
} from './record/actions.ts'
export { diff, type Change } from './record/diff.ts'
export type { AuditFields } from './record/fields.ts'
export type { RecordFilter } from './record/filter.ts'
export type { AuditRecord } from './record/leaf.ts'
export { hmac, pii, type FieldRule } from './record/marks.ts'
export { securityLogger, type SecurityLogger } from './record/security-logger.ts'
export {
  SinkBusy,
  SinkPartialRefusal,
  SinkRefusal,
  type AuditSink,
  type Rejection,
} from './log/sink.ts'
export { sinks } from './sinks/sinks.ts'
export { grantsFor, migrations, type AuditRoles } from './postgres/schema.ts'
export type { VerifyReport } from './verify/report.ts'

declare module 'fastify' {
  interface FastifyInstance {
    audit: Audit & {
      /** A plugin with routes for reading the log; register it with a prefix and a guard. */
      readonly routes: FastifyPluginAsync<AuditRoutesOptions>
    }
  }
  interface FastifyRequest {
    /**
     * Records an action of this request; principal, address and route are filled in. The reply waits
     * until the record is on disk, even if the handler does not await it.
     *
     * @throws PARAPET_AUDIT_LOG_INVALID_RECORD PARAPET_AUDIT_LOG_UNAVAILABLE
     */
    audit<A extends AuditAction>(
      action: A,
      fields?: AuditFields<AuditData<A>>,
    ): Promise<AuditReceipt>
  }
  interface FastifyContextConfig {
    /** The action that requests to this route are recorded as. */
    audit?: AuditAction | AuditRule
  }
}

const NAME = '@parapet/audit-log'

async function auditLogPlugin(app: FastifyInstance, options: AuditLogOptions): Promise<void> {
  const settings = resolveOptions(options)
  const server = readFastifyInternal(app, 'fastify.options') as { readonly trustProxy?: unknown }
  if (trustsEveryProxy(server.trustProxy)) throw new PARAPET_AUDIT_LOG_UNSAFE_PROXY()
  if (app.hasDecorator('audit')) throw new PARAPET_AUDIT_LOG_REGISTERED_TWICE()
  declarePhase(app, NAME, 'record')
  const securityEvents = useSecurityEvents(app, events)
  warnOfEarlierHooks(app)
  warnOfChildContext(app)
  const principalOf = usePrincipal(app, settings.principal)
  const audit = new Audit(await openParts(settings, securityEvents))
  const reader = new RequestReader(principalOf, settings.principal !== undefined)
  const requests = new RequestRecorder(audit, reader)
  requests.addHooks(app)

  app.decorate('audit', Object.assign(audit, { routes: createRoutes(audit, reader.sourceOf) }))
  app.decorateRequest(
    'audit',
    function record(this: FastifyRequest, action: string, fields: AuditFields = {}) {
      return requests.record(this, action, fields)
    },
  )
  const recorder = new EventRecorder(audit, requests.holdReply)
  const stopEvents = settings.recordEvents ? recorder.start(securityEvents) : () => {}
  app.addHook('onReady', async () => {
    // Not earlier: listeners may subscribe until the app is ready.
    const { cutBytes } = audit.parts.spool.recovered
    if (cutBytes > 0) securityEvents.emit('audit_log.spool_repaired', { details: { cutBytes } })
    announce(app, audit.verifierKey, await audit.doctor())
  })
  app.addHook('onClose', async () => {
    stopEvents()
    await audit.close()
  })
  await audit.start()
}

/** The plugin. Register it with `await`, before all other plugins and before the routes. */
export const auditLog: FastifyPluginAsync<AuditLogOptions> = fp(auditLogPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default auditLog
