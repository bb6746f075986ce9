/** The source of what this plugin itself keeps of a subject: requests and consents. */
import { hasEnded, inState, isLeased, type RequestBody } from '../requests/request.ts'
import { sweepRequests } from '../requests/sweep-requests.ts'
import type { PrivacySource, SourceRecord } from '../sources/source.ts'
import { recordConsent } from './consent-changes.ts'
import type { PrivacyContext } from './context.ts'

class ExportRunsError extends Error {
  readonly code = 'EXPORT_RUNS'
}

/** Makes the source. It is the last one: the erasure itself is a request. */
export function createOwnSource(context: PrivacyContext): PrivacySource {
  const { requests, consents, pseudonyms, settings } = context
  const requestsOf = (subject: string) => requests.of(pseudonyms.referenceOf(subject))
  return {
    name: 'privacy',
    purpose: 'Answering requests of data subjects, and proving consent',
    legalBasis: 'legal-obligation',
    categories: ['user.consent', 'user.device.ip_address'],
    retentionDays: settings.requestsKeptDays === 0 ? null : settings.requestsKeptDays,
    storedIn: 'privacy_records',
    encrypted: true,
    fields: {
      requests: { retain: 'GDPR, article 5(2): under a pseudonym' },
      consents: { retain: 'GDPR, article 7(1): under a pseudonym' },
      address: 'delete',
      userAgent: 'delete',
    },
    async *collect(subject): AsyncIterable<SourceRecord> {
      for await (const consent of consents.of(subject)) {
        const { ip = null, userAgent = null } = await consents.originOf(consent)
        const { purpose, version, state, noticeVersion, noticeHash, by } = consent
        const at = new Date(consent.at).toISOString()
        const record = { purpose, version, state, noticeVersion, noticeHash, by, at, ip, userAgent }
        yield { kind: 'consent', id: consent.id, ...record }
      }
      for await (const { id, type, state, openedAt } of requestsOf(subject)) {
        yield { kind: 'request', id, type, state, at: new Date(openedAt).toISOString() }
      }
    },
    erase: (subject, { key }) => eraseOwn(context, subject, key),
    async verifyErased(subject, { key }) {
      let open = 0
      for await (const { id, state, outbox = [] } of requestsOf(subject)) {
        if (id !== key && (!hasEnded(state) || outbox.length > 0)) open += 1
      }
      return { remaining: open + (await consents.anonymise(subject)) }
    },
    sweep: (sweeping) => sweepRequests(context, sweeping),
  }
}

/** Ends the other requests of a subject, removes their archives, and withdraws and anonymises the consents. */
async function eraseOwn(context: PrivacyContext, subject: string, key: string): Promise<void> {
  const { requests, consents, pseudonyms, parts, clock } = context
  let runs = false
  for await (const body of requests.of(pseudonyms.referenceOf(subject))) {
    if (body.id === key) continue
    const ended = await endRequest(context, body)
    if (ended.type !== 'access' && ended.type !== 'portability') continue
    // A job that still collects may store one more part: the parts are removed when it has stopped.
    if (isLeased(ended, clock.now())) runs = true
    else await parts.removeAll(ended.id)
  }
  await withdrawConsents(context, subject)
  await consents.anonymise(subject)
  if (runs) throw new ExportRunsError()
}

/** What a consent allowed must end with the data. */
async function withdrawConsents(context: PrivacyContext, subject: string): Promise<void> {
  const { consents, settings } = context
  for (const purpose of Object.keys(settings.purposes)) {
    if (!consents.isGranted(await consents.current(subject, purpose))) continue
    await recordConsent(context, { subject, purpose, state: 'withdrawn', by: 'erasure' })
  }
}

function endRequest(
  { requests, clock }: PrivacyContext,
  { id }: RequestBody,
): Promise<RequestBody> {
  const step = { at: clock.now(), by: 'system', reason: 'the subject was erased' }
  return requests.change(id, (body) => {
    // Messages name the subject.
    const { outbox, ...silent } = body
    if (hasEnded(body.state)) return outbox === undefined ? null : silent
    const state = body.state === 'ready' ? 'completed' : 'withdrawn'
    const { archive: _removed, ...rest } = inState(silent, state, step)
    return { ...rest, sealed: null }
  })
}
