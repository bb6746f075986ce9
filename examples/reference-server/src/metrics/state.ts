/** The state of the plugins as gauges. They are read when the metrics are asked for, not per request. */
import type { FastifyInstance } from 'fastify'
import { Gauge, type Registry } from 'prom-client'

/** Registers the gauges. The plugins that they read are registered later. */
export function collectState(app: FastifyInstance, registry: Registry): void {
  collectAudit(app, registry)
  collectLimits(app, registry)
  collectSessions(app, registry)
  collectKeys(app, registry)
  collectJobs(app, registry)
  collectContainments(app, registry)
}

type Values = Readonly<Record<string, number>>

/** Gauges without labels that one reading fills. */
function gauges(
  registry: Registry,
  help: Readonly<Record<string, string>>,
  read: () => Values | Promise<Values>,
): void {
  const [first, ...rest] = Object.entries(help).map(([name, text]) => {
    const configuration = { name, help: text, registers: [registry] }
    return { name, configuration }
  })
  if (first === undefined) return
  const others = rest.map(({ name, configuration }) => ({ name, gauge: new Gauge(configuration) }))
  // Metrics are collected at the same time, in the order of their registration: the last one reads for all.
  const main: Gauge = new Gauge({
    ...first.configuration,
    async collect() {
      const values = await read()
      main.set(values[first.name] ?? Number.NaN)
      for (const { name, gauge } of others) gauge.set(values[name] ?? Number.NaN)
    },
  })
}

function collectAudit(app: FastifyInstance, registry: Registry): void {
  const help = {
    parapet_audit_ready: '1: records are accepted and reach the log',
    parapet_audit_entries: 'Entries in the audit log',
    parapet_audit_spool_bytes: 'Bytes that wait in the spool',
    parapet_audit_oldest_unsequenced_seconds: 'Age of the oldest record that is not in the log',
    parapet_audit_dropped_records: 'Records that were dropped and not reported as a gap yet',
  }
  gauges(registry, help, async () => {
    const status = await app.audit.status()
    return {
      parapet_audit_ready: Number(status.isReady),
      parapet_audit_entries: status.size,
      parapet_audit_spool_bytes: status.spoolBytes,
      parapet_audit_oldest_unsequenced_seconds: status.oldestUnsequencedMs / 1000,
      parapet_audit_dropped_records: status.droppedRecords,
    }
  })
}

function collectLimits(app: FastifyInstance, registry: Registry): void {
  const labelNames = ['tier', 'decision'] as const
  const decisions: Gauge<(typeof labelNames)[number]> = new Gauge({
    name: 'parapet_rate_limit_decisions',
    help: 'Decisions of each tier since the start',
    labelNames,
    registers: [registry],
    collect() {
      for (const [tier, counts] of Object.entries(app.rateLimits.metrics().tiers)) {
        for (const [decision, count] of Object.entries<number>({ ...counts })) {
          decisions.set({ tier, decision }, count)
        }
      }
    },
  })
}

function collectSessions(app: FastifyInstance, registry: Registry): void {
  const help = {
    parapet_sessions_revocations_known: '1: requests need not ask the store for revocations',
    parapet_password_hashes_running: 'Passwords that are being hashed',
    parapet_password_hashes_waiting: 'Passwords that wait to be hashed',
  }
  gauges(registry, help, () => {
    const { hashing, revocationState } = app.sessions
    return {
      parapet_sessions_revocations_known: Number(revocationState !== 'checked'),
      parapet_password_hashes_running: hashing.running,
      parapet_password_hashes_waiting: hashing.waiting,
    }
  })
}

function collectKeys(app: FastifyInstance, registry: Registry): void {
  const help = { parapet_signing_keys: 'Public keys that verify access tokens' }
  gauges(registry, help, () => ({ parapet_signing_keys: app.sessions.jwks().keys.length }))
  followRotations(app, registry)
}

/** A key that is not rotated any more is seen by its age. */
function followRotations(app: FastifyInstance, registry: Registry): void {
  const rotated = new Map<string, number>()
  const age: Gauge<'secret'> = new Gauge({
    name: 'parapet_secret_age_seconds',
    help: 'Time since a secret was loaded or rotated by this process',
    labelNames: ['secret'],
    registers: [registry],
    collect() {
      for (const [secret, at] of rotated) age.set({ secret }, (Date.now() - at) / 1000)
    },
  })
  app.securityEvents.on('secrets.rotated', ({ time, details }) => {
    rotated.set(details.secret, time)
  })
}

function collectJobs(app: FastifyInstance, registry: Registry): void {
  const dead: Gauge<'job'> = new Gauge({
    name: 'parapet_jobs_dead',
    help: 'Jobs whose last attempt failed, at most 100 for each name',
    labelNames: ['job'],
    registers: [registry],
    async collect() {
      for (const job of app.jobNames) dead.set({ job }, (await app.jobs.dead(job)).length)
    },
  })
}

function collectContainments(app: FastifyInstance, registry: Registry): void {
  const help = { parapet_containments: 'Containments in force' }
  gauges(registry, help, () => ({ parapet_containments: app.anomaly.contain.list().length }))
}
