/**
 * Answers people's data requests, erases with proof, and keeps consent with its history.
 *
 * The application registers its sources of personal data. Requests run as durable jobs over these sources;
 * an attempt that is killed goes on where it stopped.
 */
import {
  createMemoryJobs,
  declarePhase,
  usePrincipal,
  useSecurityEvents,
  type SecurityEventType,
} from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { assemble, defineJobs, followConsents, registerSources, scheduleJobs } from './assemble.ts'
import { PARAPET_PRIVACY_UNSAFE } from './errors.ts'
import { events } from './events.ts'
import { addConsentGuard, type ConsentRule } from './http/consent-guard.ts'
import { addRoutes } from './http/routes.ts'
import { resolveOptions, type PrivacyOptions, type PrivacySettings } from './options.ts'
import type { EmitPrivacyEvent } from './service/context.ts'
import { createPrivacy, type Privacy } from './service/privacy.ts'
import { renderFindings } from './sources/lint.ts'
import { migratePrivacy } from './storage/migrations.ts'

export type { ConsentBody, ConsentDecision, ConsentPage, ConsentState } from './consent/consents.ts'
export type { ConsentPurpose } from './consent/purpose.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations; an import for its side effect would be dropped.
export type * from './events.ts'
export type { Processor } from './erasure/processor.ts'
export { signWebhook, verifyWebhook, type WebhookHeaders } from './erasure/webhook.ts'
export { createFolderParts, type ArchiveParts, type PartKey } from './export/archive-parts.ts'
export type { ConsentRule } from './http/consent-guard.ts'
export {
  verifyReceipt,
  type PrivacyReceipt,
  type ReceiptKey,
  type ReceiptPart,
} from './identity/receipts.ts'
export { createFileLedger } from './ledger/ledger-file.ts'
export { createMemoryLedger, createSqlLedger, type Ledger } from './ledger/ledger.ts'
export type { OfficerGuard, PrivacyOptions, StepUp } from './options.ts'
export type { HoldBody, HoldPage, HoldRequest } from './requests/holds.ts'
export type { RequestBody, RequestState, RequestType } from './requests/request.ts'
export type { SweepReport } from './retention/sweep.ts'
export type { SubjectMessage, Verification } from './service/context.ts'
export type { Privacy } from './service/privacy.ts'
export { personal, type InventoryEntry, type PersonalMark } from './sources/inventory.ts'
export type { Finding } from './sources/lint.ts'
export { renderRegister, type ProcessingRegister } from './sources/processing-register.ts'
export type {
  ErasurePlan,
  FieldStrategy,
  LegalBasis,
  PlannedField,
  PrivacySource,
  SourceContext,
  SourceRecord,
} from './sources/source.ts'
export { createMemoryRecords } from './storage/memory-records.ts'
export { migratePrivacy } from './storage/migrations.ts'
export type { RecordFilter, Records, StoredRecord } from './storage/records.ts'

declare module 'fastify' {
  interface FastifyInstance {
    privacy: Privacy
  }
  interface FastifyContextConfig {
    /** The purposes of consent that a request for the route needs. @default none */
    consent?: ConsentRule
  }
}

const NAME = '@parapet/privacy'
const IN_MEMORY =
  'privacy stores requests and consents in memory; they are lost on restart. Set "sql".'
const JOBS_IN_MEMORY =
  'privacy runs jobs in memory; after a restart they begin with the next tick. Set "jobs".'
const LEDGER_BESIDE =
  'the erasure ledger of privacy is in the database that it protects; a restore brings back both. Set "ledger".'

async function privacyPlugin(app: FastifyInstance, options: PrivacyOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'step-up')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const emit: EmitPrivacyEvent = (type, details, request) =>
    securityEvents.emit(
      type as SecurityEventType,
      { details: details as never },
      request as FastifyRequest | undefined,
    )
  const onError = (error: unknown, message: string): void => app.log.error({ err: error }, message)
  const { clock } = settings
  const ownJobs = settings.jobs === undefined
  const onJobError = (error: unknown): void => onError(error, 'privacy: a job failed')
  const jobs =
    settings.jobs ?? createMemoryJobs({ clock, onError: onJobError, onNotice: () => undefined })
  const context = assemble(settings, { jobs, emit, onError })
  const closing = new AbortController()
  const { schemas, isEncrypted } = settings
  const privacy = createPrivacy({ context, schemas, isEncrypted, signal: closing.signal })
  registerSources(context, settings)
  defineJobs(context, settings)
  logSettings(app, settings)
  if (settings.sql !== undefined) await migratePrivacy(settings.sql)
  const unfollow = await followConsents(context, settings)

  app.decorate('privacy', privacy)
  app.addHook('onClose', async () => {
    closing.abort()
    if (ownJobs) await jobs.close()
    await unfollow()
  })
  app.addHook('onReady', async () => {
    context.registry.close()
    examine(app, privacy, settings)
    await privacy.replay()
    await scheduleJobs(context, settings)
    if (ownJobs) await jobs.start()
  })
  addConsentGuard(app, { plugin: NAME, context, principalOf, securityEvents })
  const { stepUp, officer, prefix } = settings
  const parts = { context, privacy, principalOf, stepUp, officer }
  await app.register(async (child) => addRoutes(child, parts), { prefix })
}

/** @throws PARAPET_PRIVACY_UNSAFE */
function examine(app: FastifyInstance, privacy: Privacy, { lint }: PrivacySettings): void {
  const findings = privacy.lint()
  const errors = findings.filter(({ severity }) => severity === 'error')
  if (lint === 'error' && errors.length > 0) {
    throw new PARAPET_PRIVACY_UNSAFE(renderFindings(errors))
  }
  for (const finding of findings) {
    app.log.warn({ rule: finding.rule }, `privacy: ${renderFindings([finding]).trim()}`)
  }
}

function logSettings(app: FastifyInstance, settings: PrivacySettings): void {
  const { sql, records, jobs, ledger } = settings
  if (sql === undefined && records === undefined) app.log.warn(IN_MEMORY)
  if (jobs === undefined) app.log.warn(JOBS_IN_MEMORY)
  if (ledger === undefined && sql !== undefined) app.log.warn(LEDGER_BESIDE)
}

/** The plugin. Register it with `await`, after the login and before the routes that need a consent. */
export const privacy: FastifyPluginAsync<PrivacyOptions> = fp(privacyPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default privacy
