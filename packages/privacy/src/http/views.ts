/** What clients see of requests and consents: never a seal, a hash of a token, or a lease. */
import type { ConsentBody } from '../consent/consents.ts'
import type { ConsentPurpose } from '../consent/purpose.ts'
import type { RequestBody } from '../requests/request.ts'
import type { StoredRecord } from '../storage/records.ts'

/** The view of a request. */
export function viewOfRequest(body: RequestBody) {
  const { id, type, state, openedAt, dueAt, extension, parts, archive, receipt, history } = body
  const sum = (key: 'records' | 'bytes') =>
    (archive?.sources ?? []).reduce((total, source) => total + source[key], 0)
  return {
    id,
    type,
    state,
    openedAt,
    dueAt,
    parts,
    history,
    ...(extension && { extension }),
    ...(receipt !== undefined && { receipt }),
    ...(body.removeAt !== undefined && { removeAt: body.removeAt }),
    ...(archive?.expiresAt !== undefined && {
      archive: { expiresAt: archive.expiresAt, records: sum('records'), bytes: sum('bytes') },
    }),
  }
}

/** One page of requests. @param limit how many were asked for; one more shows that there is a next page. */
export function viewOfPage(records: readonly StoredRecord<RequestBody>[], limit: number) {
  const items = records.slice(0, limit)
  const last = items.at(-1)
  return {
    items: items.map(({ body }) => viewOfRequest(body)),
    ...(records.length > limit && last && { nextCursor: cursorOf(last) }),
  }
}

/** Names the last record of a page. */
export function cursorOf({ time, id }: Pick<StoredRecord, 'time' | 'id'>): string {
  return `${time}.${id}`
}

/** Reads the cursor of {@link viewOfPage}; its schema has checked the form. */
export function readCursor(cursor: string | undefined) {
  if (cursor === undefined) return {}
  const [time, id] = cursor.split('.') as [string, string]
  return { after: { time: Number(time), id } }
}

/** The view of the decision on a purpose; `null`: there was none. */
export function viewOfConsent(
  name: string,
  { title, noticeVersion }: ConsentPurpose,
  consent: ConsentBody | null,
  isGranted: boolean,
) {
  const shared = { purpose: name, title, isGranted }
  if (consent === null) return { ...shared, state: null, version: 0, noticeVersion, at: null }
  const { id, state, version, at, expiresAt } = consent
  const decided = { id, state, version, noticeVersion: consent.noticeVersion, at }
  return { ...shared, ...decided, ...(expiresAt !== undefined && { expiresAt }) }
}
