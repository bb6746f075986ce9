/** Builds and opens the parts of the service from its settings. */
import { createSecretKey } from 'node:crypto'
import { join } from 'node:path'
import { withDeadline, type Cipher, type SecurityEvents } from '@parapet/kit'
import type { Alert } from './alerts/rules.ts'
import { createAlertWatch } from './alerts/watch.ts'
import type { ServiceParts } from './audit.ts'
import { PARAPET_AUDIT_LOG_HASH_KEY_CHANGED, PARAPET_AUDIT_LOG_UNAVAILABLE } from './errors.ts'
import { openFolder } from './folder.ts'
import type { AuditEntry } from './log/entries.ts'
import { parseWitnessKey } from './log/cosignature.ts'
import type { LogStore } from './log/log-store.ts'
import { replaceLostKey, type AuditLogSettings } from './options.ts'
import { createPlan } from './pipeline/integrate.ts'
import type { WitnessSettings } from './pipeline/outside.ts'
import { Pipeline } from './pipeline/pipeline.ts'
import { AuditWriter } from './pipeline/writer.ts'
import { ActionRegistry } from './record/actions.ts'
import { SubjectKeys } from './record/personal-data.ts'
import { Recorder } from './record/recorder.ts'
import { useKeyFile } from './trust/key-file.ts'
import { openKeys, type LogKeys } from './trust/keys.ts'
import { checkSecrets } from './trust/secret-check.ts'
import { requireKnownKey } from './trust/signed-state.ts'
import { signStatement } from './trust/statements.ts'
import type { WriterKey } from './trust/writer-key.ts'
import { Spool } from './wal/spool.ts'

/** Builds and opens the parts. */
export async function openParts(
  settings: AuditLogSettings,
  events: SecurityEvents,
): Promise<ServiceParts> {
  const { folder, remove } = await openFolder(settings.directory)
  try {
    const keys = await keysOf(settings, folder)
    const spool = await openSpool(settings, folder, events)
    try {
      return { ...(await partsOf(settings, folder, keys, spool, events)), remove }
    } catch (error) {
      await spool.close()
      throw error
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function partsOf(
  settings: AuditLogSettings,
  folder: string,
  keys: LogKeys,
  spool: Spool,
  events: SecurityEvents,
): Promise<Omit<ServiceParts, 'remove'>> {
  const store = await openStore(settings, folder, keys)
  const actions = new ActionRegistry(settings.actions)
  const { recorder, subjects } = createRecorder(settings)
  const canOpen = await checkStoredSecrets(settings, store)
  const writer = new AuditWriter({
    spool,
    recorder,
    actions,
    now: settings.clock.now,
    signStatement: (draft) => signStatement(draft, keys.signer),
    onRefused: (action) => events.emit('audit_log.record_refused', { details: { action } }),
    onDropped: (count) => events.emit('audit_log.record_dropped', { details: { count } }),
  })
  const parts = {
    settings,
    folder,
    actions,
    spool,
    store,
    recorder,
    writer,
    subjects,
    canOpen,
    events,
    keys,
  }
  return { ...parts, pipeline: createPipeline(parts) }
}

async function keysOf(settings: AuditLogSettings, folder: string): Promise<LogKeys> {
  const { origin, clock, formerKeys, key, portDeadlineMs, writerKey } = settings
  const acceptsLostKey = key === replaceLostKey
  const isGiven = key !== undefined && key !== replaceLostKey
  return openKeys({
    origin,
    key: isGiven ? key : { file: await useKeyFile(folder, acceptsLostKey) },
    formerKeys,
    writerKey,
    acceptsLostKey,
    deadlineMs: portDeadlineMs,
    clock,
  })
}

/** @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE the log is signed by another key. */
async function openStore(
  settings: AuditLogSettings,
  folder: string,
  { trusted, writerKey }: LogKeys,
): Promise<LogStore> {
  const store = await createStore(settings, folder, writerKey, trusted.acceptsLostKey)
  await store.open().catch(refuseStart)
  try {
    requireKnownKey(await store.state().catch(() => null), trusted)
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}

/** @throws PARAPET_AUDIT_LOG_UNAVAILABLE for the errors of a driver and of a deadline; names the reason. */
function refuseStart(error: unknown): never {
  if (String((error as { code?: unknown } | null)?.code).startsWith('PARAPET_AUDIT_LOG_'))
    throw error
  const unavailable = new PARAPET_AUDIT_LOG_UNAVAILABLE()
  const cause = error instanceof Error ? error : new Error(String(error))
  const message = `The audit log cannot start without its store: ${cause.message}`
  throw Object.assign(unavailable, { message, cause })
}

/** Only the store in use is loaded. */
async function createStore(
  { sql, origin, migrate, portDeadlineMs, clock }: AuditLogSettings,
  folder: string,
  writerKey: WriterKey,
  acceptsLostKey: boolean,
): Promise<LogStore> {
  if (sql === undefined) {
    const { DirectoryStore } = await import('./directory/store.ts')
    return new DirectoryStore(join(folder, 'log'), { origin, writerKey, acceptsLostKey })
  }
  const { PostgresStore } = await import('./postgres/store.ts')
  const deadlineMs = portDeadlineMs
  return new PostgresStore(sql, { sql, origin, migrates: migrate, writerKey, clock, deadlineMs })
}

/**
 * A role that only writes may not read the check, and a database may be down at the start.
 *
 * @throws PARAPET_AUDIT_LOG_HASH_KEY_CHANGED
 */
async function checkStoredSecrets(
  settings: AuditLogSettings,
  store: LogStore,
): Promise<boolean | undefined> {
  const { hashKey, cipher } = settings
  if (hashKey === undefined) return undefined
  const limited = cipher === undefined ? undefined : limitCipher(cipher, settings)
  try {
    return await checkSecrets(store, createSecretKey(hashKey), limited)
  } catch (error) {
    if (error instanceof PARAPET_AUDIT_LOG_HASH_KEY_CHANGED) {
      await store.close()
      throw error
    }
    return undefined
  }
}

function createRecorder(settings: AuditLogSettings) {
  const { hashKey, cipher, clock, fields, subjectOf } = settings
  const secret = hashKey === undefined ? undefined : createSecretKey(hashKey)
  const subjects =
    secret === undefined || cipher === undefined
      ? undefined
      : new SubjectKeys({ cipher: limitCipher(cipher, settings), hashKey: secret, clock })
  const rules = new Map(Object.entries(fields))
  return {
    recorder: new Recorder({ clock, rules, hashKey: secret, subjects, subjectOf }),
    subjects,
  }
}

/** A cipher that never answers must not hold requests. */
function limitCipher(cipher: Cipher, { portDeadlineMs, clock }: AuditLogSettings): Cipher {
  const late = () => new Error(`the cipher did not answer within ${portDeadlineMs} ms`)
  return {
    seal: (text, context) => withDeadline(cipher.seal(text, context), portDeadlineMs, late, clock),
    open: (text, context) => withDeadline(cipher.open(text, context), portDeadlineMs, late, clock),
  }
}

function createPipeline(parts: Omit<ServiceParts, 'remove' | 'pipeline'>): Pipeline {
  const { settings, folder, spool, store, writer, actions, events, keys } = parts
  const { clock, alerts, sinks } = settings
  const { signer, trusted } = keys
  const plan = createPlan({
    signer,
    trusted,
    now: clock.now,
    onRefused: (details) => events.emit('audit_log.inbox_refused', { details: { ...details } }),
  })
  const watch = createAlertWatch(alerts, store, alertRaiser(writer, actions, events))
  return new Pipeline({
    spool,
    store,
    plan,
    events,
    clock,
    sinks: alerts.length === 0 ? sinks : [watch, ...sinks],
    folder,
    sequences: settings.sequencer,
    integrateIntervalMs: settings.integrateIntervalMs,
    sinkDeadlineMs: settings.sinkDeadlineMs,
    portDeadlineMs: settings.portDeadlineMs,
    stallMs: settings.stallMs,
    publishCheckpoint: settings.publishCheckpoint,
    witness: witnessOf(settings),
    ocsfOf: (action) => settings.actions?.[action]?.ocsf,
  })
}

function witnessOf({ witness }: AuditLogSettings): WitnessSettings | undefined {
  const { url, intervalMs } = witness
  const key = parseWitnessKey(witness.key ?? '')
  return url === undefined || key === undefined ? undefined : { url, key, intervalMs }
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

function openSpool({ spool, clock }: AuditLogSettings, folder: string, events: SecurityEvents) {
  return Spool.open({
    folder: join(folder, 'spool'),
    maxBytes: spool.maxBytes,
    segmentBytes: spool.segmentBytes,
    clock,
    onFailure: (error) => {
      const reason = (error as NodeJS.ErrnoException).code ?? 'unknown'
      events.emit('audit_log.spool_failed', { details: { reason } })
    },
  })
}
