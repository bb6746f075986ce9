/** Says what a finding would cause, and changes nothing. */
import { readFinding, type Finding } from '../incidents/finding.ts'
import { isOpen, type Incident } from '../incidents/incident.ts'
import { dueResponses } from '../findings/response-rules.ts'
import { decideFindings } from './intake.ts'
import { textIn } from '../tasks/task.ts'
import type { Service } from './context.ts'

/** What would happen. */
export interface Simulation {
  /** As it would be stored. */
  readonly incident: Incident
  /** `false`: the finding would be added to an open incident. */
  readonly opens: boolean
  readonly responses: readonly {
    readonly rule: string
    readonly action: string
    readonly target: string
    readonly with: Readonly<Record<string, unknown>>
    /** `false`: the service has no such action, so nothing would happen. */
    readonly isRegistered: boolean
  }[]
  readonly playbooks: readonly string[]
  readonly notifications: readonly {
    readonly notifier: string
    readonly reason: string
    readonly at: number
  }[]
  readonly respondBy: number
}

/** Simulates a finding. */
export async function simulate(service: Service, given: Finding): Promise<Simulation> {
  const { store, clock, settings, actions } = service
  const finding = readFinding(given, clock.now())
  const known = await store.findOpen(finding.fingerprint)
  const { write, result: incident } = decideFindings(
    service,
    known !== null && isOpen(known) ? known : null,
    [finding],
  )
  const tasks = write.tasks ?? []
  return {
    incident,
    opens: known === null,
    responses: dueResponses(settings.responses, incident, finding).map((due) => ({
      rule: due.rule.name,
      action: due.rule.do,
      target: due.target,
      with: due.with,
      isRegistered: actions.has(due.rule.do),
    })),
    playbooks: tasks
      .filter(({ kind }) => kind === 'start')
      .map(({ data }) => textIn(data, 'playbook')),
    notifications: tasks
      .filter(({ kind }) => kind === 'notify')
      .map(({ data, dueAt }) => ({
        notifier: textIn(data, 'notifier'),
        reason: textIn(data, 'reason'),
        at: dueAt,
      })),
    respondBy: incident.respondBy,
  }
}
