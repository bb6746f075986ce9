/** Legal holds, which stop erasures, and restrictions of processing. @see GDPR, articles 17(3) and 18 */
import { uuidV7, type Clock } from '@parapet/kit'
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { Records, StoredRecord } from '../storage/records.ts'

/** The stored body of a hold. Times are milliseconds since the Unix epoch. */
export interface HoldBody {
  readonly id: string
  readonly kind: 'legal-hold' | 'restriction'
  /** The pseudonym of the subject. */
  readonly reference: string
  readonly reason: string
  /** The legal basis. */
  readonly basis: string
  readonly placedAt: number
  readonly releasedAt?: number
  readonly releaseReason?: string
}

/** What places a hold. */
export interface HoldRequest {
  readonly subject: string
  readonly reason: string
  readonly basis: string
}

/** Which holds to read. */
export interface HoldPage {
  /** From 1 to 1000. @default 1000 */
  readonly limit?: number
  /** The holds before this one. */
  readonly after?: Pick<HoldBody, 'id' | 'placedAt'>
}

/** Places, releases and finds holds. */
export class Holds {
  readonly #records: Records
  readonly #pseudonyms: Pseudonyms
  readonly #clock: Clock

  constructor(records: Records, pseudonyms: Pseudonyms, clock: Clock) {
    this.#records = records
    this.#pseudonyms = pseudonyms
    this.#clock = clock
  }

  /** @param id repeats a call without placing a second hold. @default a new id */
  async place(
    kind: HoldBody['kind'],
    { subject, reason, basis }: HoldRequest,
    id: string = uuidV7(),
  ): Promise<HoldBody> {
    const reference = this.#pseudonyms.referenceOf(subject)
    const placedAt = this.#clock.now()
    const body: HoldBody = { id, kind, reference, reason, basis, placedAt }
    await this.#records.insert({ ...columnsOf(body), body })
    return body
  }

  /** @returns the hold; `null`: there is none with this id that is active. */
  async release(id: string, reason: string): Promise<HoldBody | null> {
    for (;;) {
      const record = await this.#records.find<HoldBody>('hold', id)
      if (record === null || record.body.releasedAt !== undefined) return null
      const releasedAt = this.#clock.now()
      const body = { ...record.body, releasedAt, releaseReason: reason }
      if (await this.#records.save({ ...record, ...columnsOf(body), body })) return body
    }
  }

  /** Whether an active hold or restriction has this pseudonym. */
  async isHeld(reference: string, kind: HoldBody['kind'] = 'legal-hold'): Promise<boolean> {
    const topic = `active ${kind}`
    return (await this.#records.list('hold', { owner: reference, topic, limit: 1 })).length > 0
  }

  /** One page of the holds, the latest first. */
  async list({ limit = 1000, after }: HoldPage = {}): Promise<HoldBody[]> {
    const behind = after && { after: { time: after.placedAt, id: after.id } }
    const records = await this.#records.list<HoldBody>('hold', { limit, ...behind })
    return records.map(({ body }) => body)
  }
}

function columnsOf(body: HoldBody): Omit<StoredRecord, 'version' | 'body'> {
  const { id, kind, reference, placedAt, releasedAt } = body
  return {
    kind: 'hold',
    id,
    owner: reference,
    topic: `${releasedAt === undefined ? 'active' : 'released'} ${kind}`,
    uniqueKey: null,
    time: placedAt,
  }
}
