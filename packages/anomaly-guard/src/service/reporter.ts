/** What an instance tells: the events and the log lines, as one port of the core. */
import type { ContainmentReporter } from '../contain/containments.ts'
import type { Anomaly } from '../incidents/anomaly.ts'
import type { Incident } from '../incidents/correlate.ts'

/** Receives everything worth telling. No method throws. */
export interface GuardReporter extends ContainmentReporter {
  readonly detected: (anomaly: Anomaly) => void
  readonly incidentOpened: (incident: Incident) => void
  readonly modeChanged: (rule: string, mode: string, by: string) => void
  readonly feedbackGiven: (anomaly: Anomaly, by: string, lifted: number) => void
  readonly budgetExceeded: (rule: string, falsePositives: number, requests: number) => void
}
