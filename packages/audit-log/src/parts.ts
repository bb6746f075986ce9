/** Builds the parts of the service and opens them. */
import { createSecretKey } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, SecurityEvents } from '@parapet/kit'
import type { Alert } from './alerts/rules.ts'
import { createAlertWatch } from './alerts/watch.ts'
import { createPlan } from './log/integration.ts'
import type { AuditEntry } from './log/reader.ts'
import { createSigner, useKeyFile, type LogSigner } from './log/signer.ts'
import type { AuditLogSettings } from './options.ts'
import { Pipeline } from './pipeline.ts'
import { ActionRegistry } from './record/actions.ts'
import { SubjectKeys } from './record/personal.ts'
import { Recorder } from './record/recorder.ts'
import { AuditWriter } from './record/writer.ts'
import { DirectoryStore } from './store/directory.ts'
import type { LogStore } from './store/log-store.ts'
import { PostgresStore } from './store/log-store-postgres.ts'
import { Spool } from './wal/spool.ts'

/** The parts that make the service. */
export interface ServiceParts {
  readonly settings: AuditLogSettings
  readonly actions: ActionRegistry
  readonly spool: Spool
  readonly store: LogStore
  readonly signer: LogSigner
  readonly recorder: Recorder
  readonly writer: AuditWriter
  readonly pipeline: Pipeline
  readonly subjects: SubjectKeys | undefined
  readonly events: SecurityEvents
}

/** Builds and opens the parts. */
export async function openParts(
  settings: AuditLogSettings,
  events: SecurityEvents,
): Promise<ServiceParts> {
  const { clock, directory, origin } = settings
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const key = settings.key ?? (await useKeyFile(join(directory, 'key.pem')))
  const signer = await createSigner(origin, key)
  const spool = await openSpool(settings, clock, events)
  const store = createStore(settings)
  try {
    await store.open()
  } catch (error) {
    await spool.close()
    throw error
  }
  const actions = new ActionRegistry(settings.actions)
  const { recorder, subjects } = createRecorder(settings)
  const writer = new AuditWriter({
    spool,
    recorder,
    actions,
    now: clock.now,
    onRefused: (action) => events.emit('audit_log.record_refused', { details: { action } }),
    onDropped: (count) => events.emit('audit_log.record_dropped', { details: { count } }),
  })
  const plan = createPlan({
    signer,
    now: clock.now,
    onRefused: (count) => events.emit('audit_log.inbox_refused', { details: { count } }),
  })
  const watch = createAlertWatch(settings.alerts, store, raiser(recorder, writer, actions, events))
  const sinks = settings.alerts.length === 0 ? settings.sinks : [watch, ...settings.sinks]
  const pipeline = new Pipeline({ settings, spool, store, plan, sinks, events })
  return { settings, actions, spool, store, signer, recorder, writer, pipeline, subjects, events }
}

function createRecorder({ hashKey, cipher, clock, fields }: AuditLogSettings) {
  const secret = hashKey === undefined ? undefined : createSecretKey(hashKey)
  const subjects =
    secret === undefined || cipher === undefined
      ? undefined
      : new SubjectKeys({ cipher, hashKey: secret, clock })
  const rules = new Map(Object.entries(fields))
  return { recorder: new Recorder({ clock, rules, hashKey: secret, subjects }), subjects }
}

/** An alert is first a record, then an event: whoever acts on it can point to the log. */
function raiser(
  recorder: Recorder,
  writer: AuditWriter,
  actions: ActionRegistry,
  events: SecurityEvents,
) {
  return async (alert: Alert, { record }: AuditEntry): Promise<void> => {
    const { severity, id: alertId, rule, key, count, index } = alert
    const details = { alertId, rule, key, count, index }
    const action = actions.getOpen('audit_log.alert_raised')
    const data = { ...details, action: record.action }
    const prepared = await recorder.prepare(action, { severity, result: 'failure', data })
    await writer.write(action, prepared, true)
    events.emit('audit_log.alert_raised', { severity, details })
  }
}

function openSpool(settings: AuditLogSettings, clock: Clock, events: SecurityEvents) {
  return Spool.open({
    folder: join(settings.directory, 'spool'),
    maxBytes: settings.spool.maxBytes,
    segmentBytes: settings.spool.segmentBytes,
    clock,
    onFailure: (error) => {
      const reason = (error as NodeJS.ErrnoException).code ?? 'unknown'
      events.emit('audit_log.spool_failed', { details: { reason } })
    },
  })
}

function createStore({ sql, origin, directory, migrate }: AuditLogSettings): LogStore {
  if (sql !== undefined) return new PostgresStore(sql, origin, migrate)
  return new DirectoryStore(join(directory, 'log'), origin)
}
