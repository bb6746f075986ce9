/** Builds and opens the parts of the service from its settings. */
import { createSecretKey } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecurityEvents } from '@parapet/kit'
import type { Alert } from './alerts/rules.ts'
import { createAlertWatch } from './alerts/watch.ts'
import type { ServiceParts } from './audit.ts'
import type { AuditEntry } from './log/entries.ts'
import type { LogStore } from './log/log-store.ts'
import { createSigner, useKeyFile } from './log/signing-key.ts'
import type { AuditLogSettings } from './options.ts'
import { createPlan } from './pipeline/integrate.ts'
import { Pipeline } from './pipeline/pipeline.ts'
import { AuditWriter } from './pipeline/writer.ts'
import { ActionRegistry } from './record/actions.ts'
import { SubjectKeys } from './record/personal-data.ts'
import { Recorder } from './record/recorder.ts'
import { DirectoryStore } from './store/directory.ts'
import { PostgresStore } from './store/postgres.ts'
import { Spool } from './wal/spool.ts'

/** Builds and opens the parts. */
export async function openParts(
  settings: AuditLogSettings,
  events: SecurityEvents,
): Promise<ServiceParts> {
  const { clock, directory, origin } = settings
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const key = settings.key ?? (await useKeyFile(join(directory, 'key.pem')))
  const signer = await createSigner(origin, key)
  const spool = await openSpool(settings, events)
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
  const pipeline = createPipeline(settings, { spool, store, signer, writer, actions, events })
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

function createPipeline(
  settings: AuditLogSettings,
  parts: Pick<ServiceParts, 'spool' | 'store' | 'signer' | 'writer' | 'actions' | 'events'>,
): Pipeline {
  const { spool, store, signer, writer, actions, events } = parts
  const { clock, alerts, sinks } = settings
  const plan = createPlan({
    signer,
    now: clock.now,
    onRefused: (count) => events.emit('audit_log.inbox_refused', { details: { count } }),
  })
  const watch = createAlertWatch(alerts, store, alertRaiser(writer, actions, events))
  return new Pipeline({
    spool,
    store,
    plan,
    events,
    clock,
    sinks: alerts.length === 0 ? sinks : [watch, ...sinks],
    folder: settings.directory,
    sequences: settings.sequencer,
    integrateIntervalMs: settings.integrateIntervalMs,
    sinkDeadlineMs: settings.sinkDeadlineMs,
    publishCheckpoint: settings.publishCheckpoint,
    ocsfOf: (action) => settings.actions?.[action]?.ocsf,
  })
}

/** The record comes before the event, so that a listener can find the alert in the log. */
function alertRaiser(writer: AuditWriter, actions: ActionRegistry, events: SecurityEvents) {
  return async (alert: Alert, { record }: AuditEntry): Promise<void> => {
    const { severity, id: alertId, rule, key, count, index } = alert
    const details = { alertId, rule, key, count, index }
    await writer.record({
      action: actions.getOpen('audit_log.alert_raised'),
      fields: { severity, result: 'failure', data: { ...details, action: record.action } },
      useReserve: true,
    })
    events.emit('audit_log.alert_raised', { severity, details })
  }
}

function openSpool({ directory, spool, clock }: AuditLogSettings, events: SecurityEvents) {
  return Spool.open({
    folder: join(directory, 'spool'),
    maxBytes: spool.maxBytes,
    segmentBytes: spool.segmentBytes,
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
