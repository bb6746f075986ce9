/**
 * Authenticates every record, so that one that was written or changed past this plugin is refused.
 *
 * The body is stored as the text of its JSON beside the code: `jsonb` accepts neither U+0000 nor a lone
 * surrogate, which names and reasons may contain. A row that is deleted, or replaced by an older version of
 * itself, is not noticed.
 */
import { replaceForeignErrors } from '@parapet/kit'
import { PARAPET_PRIVACY_RECORD_DAMAGED, PARAPET_PRIVACY_UNAVAILABLE } from '../errors.ts'
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { RecordFilter, RecordKind, Records, StoredRecord } from './records.ts'

interface SignedBody {
  /** JSON of the body. */
  readonly text: string
  readonly mac: string
}

/** Records over another storage. */
export class SignedRecords implements Records {
  readonly #records: Records
  readonly #pseudonyms: Pseudonyms

  constructor(records: Records, pseudonyms: Pseudonyms) {
    this.#records = records
    this.#pseudonyms = pseudonyms
  }

  insert(record: Omit<StoredRecord, 'version'>): Promise<boolean> {
    const signed = { ...record, body: this.#sign({ ...record, version: 1 }) }
    return ask(() => this.#records.insert(signed))
  }

  /** @throws PARAPET_PRIVACY_RECORD_DAMAGED */
  async find<Body>(kind: RecordKind, id: string): Promise<StoredRecord<Body> | null> {
    const record = await ask(() => this.#records.find<SignedBody>(kind, id))
    // An adapter that returns another row is no better than one whose row was changed.
    if (record !== null && (record.kind !== kind || record.id !== id)) throw damaged(record)
    return record === null ? null : this.#open<Body>(record)
  }

  save(record: StoredRecord): Promise<boolean> {
    const next = { ...record, version: record.version + 1 }
    const signed = { ...record, body: this.#sign(next) }
    return ask(() => this.#records.save(signed))
  }

  /** @throws PARAPET_PRIVACY_RECORD_DAMAGED */
  async list<Body>(kind: RecordKind, filter: RecordFilter): Promise<StoredRecord<Body>[]> {
    const records = await ask(() => this.#records.list<SignedBody>(kind, filter))
    return records.map((record) => this.#open<Body>(record))
  }

  /** Leaves out records that are damaged, so that one of them does not hide the others. */
  async listSound<Body>(
    kind: RecordKind,
    filter: RecordFilter,
    onDamaged: (error: unknown) => void,
  ): Promise<StoredRecord<Body>[]> {
    const sound: StoredRecord<Body>[] = []
    let { after } = filter
    for (;;) {
      const next = { ...filter, ...(after && { after }) }
      const page = await ask(() => this.#records.list<SignedBody>(kind, next))
      for (const record of page) {
        try {
          sound.push(this.#open<Body>(record))
        } catch (error) {
          onDamaged(error)
        }
      }
      if (page.length < filter.limit || sound.length >= filter.limit) {
        return sound.slice(0, filter.limit)
      }
      const { time, id } = page.at(-1)!
      after = { time, id }
    }
  }

  missing(kind: RecordKind, ids: readonly string[]): Promise<string[]> {
    return ask(() => this.#records.missing(kind, ids))
  }

  remove(kind: RecordKind, id: string): Promise<boolean> {
    return ask(() => this.#records.remove(kind, id))
  }

  #sign(record: StoredRecord): SignedBody {
    const text = JSON.stringify(record.body)
    return { text, mac: this.#pseudonyms.authenticate(signedText(record, text)) }
  }

  #open<Body>(record: StoredRecord<SignedBody>): StoredRecord<Body> {
    const { text, mac } = (record.body ?? {}) as Partial<SignedBody>
    const isSound =
      typeof text === 'string' &&
      typeof mac === 'string' &&
      this.#pseudonyms.verify(signedText(record, text), mac)
    if (!isSound) throw damaged(record)
    return { ...record, body: JSON.parse(text) as Body }
  }
}

/** The errors of a driver name the database, and are no 503. */
function ask<T>(call: () => Promise<T>): Promise<T> {
  return replaceForeignErrors(call, (cause) => new PARAPET_PRIVACY_UNAVAILABLE({ cause }))
}

/** Every column, so that none of them can be changed alone. */
function signedText(record: StoredRecord, text: string): string {
  const { kind, id, version, owner, topic, uniqueKey, time } = record
  return `record ${JSON.stringify([kind, id, version, owner, topic, uniqueKey, time, text])}`
}

function damaged({ kind, id }: Pick<StoredRecord, 'kind' | 'id'>): Error {
  return new PARAPET_PRIVACY_RECORD_DAMAGED(kind, id.slice(0, 64))
}
