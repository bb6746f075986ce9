/** The line in the log that says at boot what the guard will do, and what it will not. */
import type { AnomalyGuardSettings } from '../options.ts'
import { defaultResponses } from '../incidents/responder.ts'
import type { AnomalyGuard } from './anomaly-api.ts'

/** Describes the modes, the storage, and the responses that need a port which is not set. */
export function describeBoot(
  { rules }: Pick<AnomalyGuard, 'rules'>,
  settings: AnomalyGuardSettings,
): string {
  const byMode = (wanted: string) => rules.filter(({ mode }) => mode === wanted).length
  const enforced = byMode('enforce')
  const parts = [
    enforced === 0
      ? `anomaly-guard contains nothing by itself: all ${rules.length} rules are in mode "shadow" or "alert". ` +
        'Read app.anomaly.impact(rule), then call app.anomaly.promote(rule), or set "mode".'
      : `anomaly-guard enforces ${enforced} of ${rules.length} rules, ` +
        `${byMode('alert')} alert, ${byMode('shadow')} only record.`,
  ]
  if (settings.store === undefined) {
    parts.push(
      'Containments, promotions and anomalies are in memory and lost on restart. Set "store".',
    )
  } else if (settings.secret === undefined) {
    parts.push('Passes and account hashes differ between instances. Set "secret".')
  }
  const used = new Set(Object.values({ ...defaultResponses, ...settings.respond }).flat())
  if (used.has('step-up') && settings.stepUp === undefined) {
    parts.push('Step-up is only recorded. Set "stepUp", or read request.anomaly.stepUpSince.')
  }
  if (used.has('revoke') && settings.revoke === undefined) {
    parts.push('Sessions are not revoked. Set "revoke".')
  }
  return parts.join(' ')
}
