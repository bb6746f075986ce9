/** Stores requests: changes are compared by version, so that two writers never undo each other. */
import type { Cipher } from '@parapet/kit'
import { PARAPET_PRIVACY_CONFLICT, PARAPET_PRIVACY_NOT_FOUND } from '../errors.ts'
import type { RecordFilter, StoredRecord } from '../storage/records.ts'
import type { SignedRecords } from '../storage/signed-records.ts'
import { hasEnded, isUnanswered, type RequestBody, type RequestDetails } from './request.ts'

/** What is sealed of a request. */
export interface RequestSecrets {
  readonly subject: string
  readonly details: RequestDetails
  /** By what name each processor knows the subject; `null`: it does not know it. */
  readonly handles?: Readonly<Record<string, string | null>>
}

/** Requests that a job has to look at again, and the others. */
type Topic = 'open' | 'closed'

const MAX_ATTEMPTS = 20
const PAGE = 200

/** Reads and changes requests. */
export class RequestRepository {
  readonly #records: SignedRecords
  readonly #cipher: Cipher
  readonly #onDamaged: (error: unknown) => void

  constructor(records: SignedRecords, cipher: Cipher, onDamaged: (error: unknown) => void) {
    this.#records = records
    this.#cipher = cipher
    this.#onDamaged = onDamaged
  }

  /** @returns `false`: the subject has an unanswered request of this type. */
  insert(body: RequestBody): Promise<boolean> {
    return this.#records.insert({ ...columnsOf(body), body })
  }

  async find(id: string): Promise<RequestBody | null> {
    return (await this.#records.find<RequestBody>('request', id))?.body ?? null
  }

  /**
   * Changes a request.
   *
   * @param edit gets the current body; `null` leaves it as it is. It may run several times.
   * @returns the body afterwards.
   * @throws PARAPET_PRIVACY_NOT_FOUND, PARAPET_PRIVACY_CONFLICT
   */
  async change(id: string, edit: (body: RequestBody) => RequestBody | null): Promise<RequestBody> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const record = await this.#records.find<RequestBody>('request', id)
      if (record === null) throw new PARAPET_PRIVACY_NOT_FOUND()
      const body = edit(record.body)
      if (body === null) return record.body
      const changed = { ...record, ...columnsOf(body), body }
      if (await this.#records.save(changed)) return body
    }
    throw new PARAPET_PRIVACY_CONFLICT('changing')
  }

  remove(id: string): Promise<boolean> {
    return this.#records.remove('request', id)
  }

  /** Leaves out damaged requests, and reports them. */
  list(
    filter: Omit<RecordFilter, 'topic'> & { readonly topic?: Topic },
  ): Promise<StoredRecord<RequestBody>[]> {
    return this.#records.listSound<RequestBody>('request', filter, this.#onDamaged)
  }

  /** Every request of a subject, the latest first. @throws PARAPET_PRIVACY_RECORD_DAMAGED */
  async *of(owner: string): AsyncIterable<RequestBody> {
    let after: { readonly time: number; readonly id: string } | undefined
    for (;;) {
      const filter = { owner, limit: PAGE, ...(after && { after }) }
      const page = await this.#records.list<RequestBody>('request', filter)
      for (const { body } of page) yield body
      if (page.length < PAGE) return
      const { time, id } = page.at(-1)!
      after = { time, id }
    }
  }

  seal(id: string, secrets: RequestSecrets): Promise<string> {
    return this.#cipher.seal(JSON.stringify(secrets), contextOf(id))
  }

  /** @returns `null`: it is not needed any more and was dropped. */
  async open({ id, sealed }: RequestBody): Promise<RequestSecrets | null> {
    if (sealed === null) return null
    const text = await this.#cipher.open(sealed, contextOf(id))
    return JSON.parse(text.toString()) as RequestSecrets
  }
}

function contextOf(id: string): string[] {
  return ['privacy', 'request', id]
}

function columnsOf(body: RequestBody): Omit<StoredRecord, 'version' | 'body'> {
  const { id, type, reference, state, openedAt } = body
  return {
    kind: 'request',
    id,
    owner: reference,
    topic: needsAttention(body) ? 'open' : 'closed',
    uniqueKey: isUnanswered(state) ? `${reference} ${type}` : null,
    time: openedAt,
  }
}

/** An answered request whose archive is kept, whose removal is to come, or with messages to send, is not over. */
function needsAttention({ state, removeAt, outbox = [] }: RequestBody): boolean {
  return !hasEnded(state) || removeAt !== undefined || outbox.length > 0
}
