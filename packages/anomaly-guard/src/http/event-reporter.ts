/** Reports what the guard does: security events and log lines. */
import type { SecurityEvents, Severity } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { formatTarget, type Containment } from '../contain/containment.ts'
import type { Subject } from '../rules/rule.ts'
import type { GuardReporter } from '../service/reporter.ts'

/** Failures of the background are logged once in so long: a store that is down fails every call. */
const LOG_EVERY_MS = 10_000

/** Creates the reporter of one app. */
export function createEventReporter(
  events: SecurityEvents,
  log: FastifyBaseLogger,
  now: () => number,
): GuardReporter {
  let loggedAt = -Infinity
  return {
    ...reportFindings(events),
    ...reportMeasures(events),
    failed(error, what) {
      if (now() - loggedAt < LOG_EVERY_MS) return
      loggedAt = now()
      log.error({ err: error }, `anomaly-guard could not ${what}; this instance protects alone`)
    },
  }
}

function reportFindings(
  events: SecurityEvents,
): Pick<
  GuardReporter,
  'detected' | 'incidentOpened' | 'modeChanged' | 'feedbackGiven' | 'budgetExceeded'
> {
  return {
    detected({ id, rule, label, mode, severity, evidence, subject, route }) {
      const { account } = subject
      const words = Object.entries(evidence).map(([name, value]) => `${name} ${value}`)
      const known = { anomalyId: id, rule, label, mode, evidence: words }
      events.emit('anomaly_guard.detected', {
        ...subjectFields(subject),
        ...(route === undefined ? undefined : { route }),
        severity: mode === 'shadow' ? 'info' : severity,
        details: { ...known, ...(account === undefined ? undefined : { account }) },
      })
    },
    incidentOpened({ id, pattern, label, confidence, evidence, severity, subjects }) {
      const details = { incidentId: id, pattern, label, confidence, evidence }
      const fields = subjectFields(subjects[0] ?? {})
      events.emit('anomaly_guard.incident_opened', { ...fields, severity, details })
    },
    modeChanged(rule, mode, by) {
      events.emit('anomaly_guard.mode_changed', { details: { rule, mode, by } })
    },
    feedbackGiven({ id, rule, verdict = '' }, by, lifted) {
      const details = { anomalyId: id, rule, verdict, by, lifted }
      events.emit('anomaly_guard.feedback_given', { details })
    },
    budgetExceeded(rule, falsePositives, requests) {
      events.emit('anomaly_guard.budget_exceeded', { details: { rule, falsePositives, requests } })
    },
  }
}

function reportMeasures(
  events: SecurityEvents,
): Pick<GuardReporter, 'contained' | 'lifted' | 'capReached'> {
  return {
    contained(containment) {
      const { id, kind, until, reason, level, by, anomalyId = null } = containment
      const severity: Severity = kind === 'lockdown' ? 'critical' : 'high'
      const target = formatTarget(containment.target)
      const details = { containmentId: id, kind, target, until, reason, level, by, anomalyId }
      events.emit('anomaly_guard.contained', { ...targetFields(containment), severity, details })
    },
    lifted(containment, by) {
      const { id, kind, target } = containment
      const details = { containmentId: id, kind, target: formatTarget(target), by }
      events.emit('anomaly_guard.lifted', { ...targetFields(containment), details })
    },
    capReached({ reason }, { blocked, limit }) {
      events.emit('anomaly_guard.cap_reached', { details: { blocked, limit, reason } })
    },
  }
}

function subjectFields({ address, principalId }: Subject) {
  return {
    ...(address === undefined ? undefined : { ip: address }),
    ...(principalId === undefined ? undefined : { principalId }),
  }
}

function targetFields({ target: { type, value } }: Containment) {
  if (type === 'address') return { ip: value }
  return type === 'principal' ? { principalId: value } : {}
}
