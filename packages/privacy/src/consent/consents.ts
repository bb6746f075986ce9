/** Consents: every decision is a new version, none is changed. @see GDPR, article 7 */
import { createHash } from 'node:crypto'
import { uuidV7, type Cipher, type Clock } from '@parapet/kit'
import { PARAPET_PRIVACY_CONFLICT, PARAPET_PRIVACY_NOT_FOUND } from '../errors.ts'
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import { retryLater } from '../retry-later.ts'
import type { Records, StoredRecord } from '../storage/records.ts'
import type { ConsentPurpose } from './purpose.ts'

/** `withdrawn`: given before, and taken back. `refused`: never given. */
export type ConsentState = 'granted' | 'refused' | 'withdrawn'

/** The stored body of a consent. Times are milliseconds since the Unix epoch. */
export interface ConsentBody {
  readonly id: string
  readonly purpose: string
  readonly version: number
  readonly state: ConsentState
  readonly noticeVersion: string
  /** SHA-256 of the text of the notice, in hexadecimal. */
  readonly noticeHash: string
  readonly at: number
  readonly expiresAt?: number
  /** `subject`, `officer`, `objection`, or `erasure`. */
  readonly by: string
  /** Address and user agent, sealed; `null`: none was given, or the subject was erased. */
  readonly sealed: string | null
}

/** A decision to record. */
export interface ConsentDecision {
  readonly subject: string
  readonly purpose: string
  readonly state: ConsentState
  readonly by: string
  readonly ip?: string
  readonly userAgent?: string
}

/** Where a decision came from. */
export interface ConsentOrigin {
  readonly ip?: string
  readonly userAgent?: string
}

/** The result of a decision. */
export interface RecordedConsent {
  readonly consent: ConsentBody
  /** `false`: the decision in force is the same one. */
  readonly isNew: boolean
}

/** Which decisions of a subject to read, the latest first. */
export interface ConsentPage {
  /** From 1 to 1000. @default 1000 */
  readonly limit?: number
  /** The decisions before this one. */
  readonly after?: Pick<ConsentBody, 'id'>
}

const MAX_ATTEMPTS = 20
const MAX_HISTORY = 1000
const DAY_MS = 86_400_000

/** What consents need. */
export interface ConsentPorts {
  readonly records: Records
  readonly cipher: Cipher
  readonly pseudonyms: Pseudonyms
  readonly clock: Clock
  readonly purposes: Readonly<Record<string, ConsentPurpose>>
  /** How many decisions of a subject are stored in a day, besides those that take a consent back. */
  readonly decisionsPerDay: number
}

/** Records and reads decisions. */
export class Consents {
  readonly #ports: ConsentPorts

  constructor(ports: ConsentPorts) {
    this.#ports = ports
  }

  /**
   * Appends a decision, unless the one in force is the same: one who clicks twice has decided once.
   *
   * @throws PARAPET_PRIVACY_NOT_FOUND the purpose is unknown.
   * @throws PARAPET_PRIVACY_TOO_MANY_REQUESTS the subject has decided too often today.
   */
  async record(decision: ConsentDecision): Promise<RecordedConsent> {
    const { records, pseudonyms, clock } = this.#ports
    const { subject, purpose, state, by } = decision
    const { noticeVersion, noticeText, expiresAfterDays } = this.purposeOf(purpose)
    const owner = pseudonyms.referenceOf(subject)
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const latest = await this.#latest(owner, purpose)
      if (latest !== undefined && (await this.#isAnswered(latest, decision))) {
        return { consent: latest.body, isNew: false }
      }
      const version = (latest?.body.version ?? 0) + 1
      const id = uuidV7()
      const at = clock.now()
      const body: ConsentBody = {
        id,
        purpose,
        version,
        state,
        noticeVersion,
        noticeHash: hashOf(noticeText),
        at,
        by,
        sealed: await this.#seal(id, decision),
        ...(expiresAfterDays !== undefined &&
          state === 'granted' && { expiresAt: at + expiresAfterDays * DAY_MS }),
      }
      // The order of the versions holds even where the clock was set back.
      const time = Math.max(at, (latest?.time ?? 0) + 1)
      const uniqueKey = `${owner} ${purpose} ${version}`
      const columns = { kind: 'consent', id, owner, topic: purpose, uniqueKey, time } as const
      if (await records.insert({ ...columns, body })) return { consent: body, isNew: true }
    }
    throw new PARAPET_PRIVACY_CONFLICT('changing')
  }

  /** Whether the decision in force answers a new one. @throws PARAPET_PRIVACY_TOO_MANY_REQUESTS */
  async #isAnswered(
    { owner, body }: StoredRecord<ConsentBody>,
    decision: ConsentDecision,
  ): Promise<boolean> {
    if (this.#isSame(body, decision)) return true
    const isGranted = decision.state === 'granted'
    // To take a consent back is never refused. @see GDPR, article 7(3)
    if (!isGranted && body.state === 'granted') return false
    const waitMs = await this.#waitOf(owner!)
    if (waitMs > 0 && isGranted) throw retryLater(waitMs)
    // Between "refused" and "withdrawn": there is no consent either way.
    return waitMs > 0
  }

  /** Whether a decision changes nothing. One that expires is renewed at most once a day. */
  #isSame(latest: ConsentBody, { state, purpose }: ConsentDecision): boolean {
    const { noticeVersion, noticeText } = this.purposeOf(purpose)
    const isNotice =
      latest.noticeVersion === noticeVersion && latest.noticeHash === hashOf(noticeText)
    if (latest.state !== state || !isNotice) return false
    const now = this.#ports.clock.now()
    // Also where the clock was set back.
    return latest.expiresAt === undefined || Math.abs(now - latest.at) < DAY_MS
  }

  /** How long a subject has to wait that has decided too often within a day. */
  async #waitOf(owner: string): Promise<number> {
    const { records, clock, decisionsPerDay: limit } = this.#ports
    const latest = await records.list<ConsentBody>('consent', { owner, limit })
    return (latest[limit - 1]?.body.at ?? -Infinity) + DAY_MS - clock.now()
  }

  /** The decision in force; `null`: there was none. */
  async current(subject: string, purpose: string): Promise<ConsentBody | null> {
    const owner = this.#ports.pseudonyms.referenceOf(subject)
    return (await this.#latest(owner, purpose))?.body ?? null
  }

  /** Whether a consent is in force now. */
  isGranted(consent: ConsentBody | null): boolean {
    if (consent?.state !== 'granted') return false
    return consent.expiresAt === undefined || consent.expiresAt > this.#ports.clock.now()
  }

  /** One page of the decisions of a subject, the latest first. */
  async history(
    subject: string,
    { limit = MAX_HISTORY, after }: ConsentPage = {},
  ): Promise<ConsentBody[]> {
    const { records, pseudonyms } = this.#ports
    const owner = pseudonyms.referenceOf(subject)
    const last = after === undefined ? null : await records.find<ConsentBody>('consent', after.id)
    if (after !== undefined && last?.owner !== owner) throw new PARAPET_PRIVACY_NOT_FOUND()
    const page = await this.#records(owner, limit, last ?? undefined)
    return page.map(({ body }) => body)
  }

  /** Every decision of a subject, the latest first. */
  async *of(subject: string): AsyncIterable<ConsentBody> {
    let page: ConsentBody[] = []
    do {
      const last = page.at(-1)
      page = await this.history(subject, last && { after: last })
      yield* page
    } while (page.length === MAX_HISTORY)
  }

  /** Where a decision came from. */
  async originOf({ id, sealed }: ConsentBody): Promise<ConsentOrigin> {
    if (sealed === null) return {}
    const text = await this.#ports.cipher.open(sealed, contextOf(id))
    return JSON.parse(text.toString()) as ConsentOrigin
  }

  /** Drops what names a person; the decision is kept as proof. @returns how many could not be changed */
  async anonymise(subject: string): Promise<number> {
    const owner = this.#ports.pseudonyms.referenceOf(subject)
    let failed = 0
    let page: StoredRecord<ConsentBody>[] = []
    do {
      page = await this.#records(owner, MAX_HISTORY, page.at(-1))
      for (const record of page) {
        if (record.body.sealed === null) continue
        const body = { ...record.body, sealed: null }
        failed += Number(!(await this.#ports.records.save({ ...record, body })))
      }
    } while (page.length === MAX_HISTORY)
    return failed
  }

  /** @throws PARAPET_PRIVACY_NOT_FOUND */
  purposeOf(name: string): ConsentPurpose {
    const { purposes } = this.#ports
    if (!Object.hasOwn(purposes, name)) throw new PARAPET_PRIVACY_NOT_FOUND()
    return purposes[name]!
  }

  #records(
    owner: string,
    limit: number,
    after?: { readonly time: number; readonly id: string },
  ): Promise<StoredRecord<ConsentBody>[]> {
    const filter = { owner, limit, ...(after && { after }) }
    return this.#ports.records.list<ConsentBody>('consent', filter)
  }

  async #latest(owner: string, topic: string): Promise<StoredRecord<ConsentBody> | undefined> {
    return (await this.#ports.records.list<ConsentBody>('consent', { owner, topic, limit: 1 }))[0]
  }

  async #seal(id: string, { ip, userAgent }: ConsentDecision): Promise<string | null> {
    if (ip === undefined && userAgent === undefined) return null
    return this.#ports.cipher.seal(JSON.stringify({ ip, userAgent }), contextOf(id))
  }
}

function contextOf(id: string): string[] {
  return ['privacy', 'consent', id]
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
