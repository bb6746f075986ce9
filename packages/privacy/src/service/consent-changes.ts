/** Records decisions on consents, and answers whether one is in force. */
import type { ConsentBody, ConsentDecision } from '../consent/consents.ts'
import type { PrivacyContext } from './context.ts'

/** Records a decision, and makes every instance forget the former one. */
export async function recordConsent(
  context: PrivacyContext,
  decision: ConsentDecision,
  http?: unknown,
): Promise<ConsentBody> {
  const { consent, isNew } = await context.consents.record(decision)
  // Also if it is the same one: a former announcement may have been lost.
  await context.announce(decision.subject)
  const { purpose, state, version } = consent
  if (isNew) context.emit('privacy.consent_changed', { purpose, state, version }, http)
  return consent
}

/** Whether a consent is in force, from the cache if it is there. */
export async function hasConsent(
  { cache, consents, clock }: PrivacyContext,
  subject: string,
  purpose: string,
): Promise<boolean> {
  const cached = cache.get(subject, purpose)
  if (cached !== undefined) return cached
  return cache.load(subject, purpose, async () => {
    const consent = await consents.current(subject, purpose)
    const isGranted = consents.isGranted(consent)
    const expiresInMs = isGranted ? (consent?.expiresAt ?? Infinity) - clock.now() : Infinity
    return { isGranted, expiresInMs }
  })
}
