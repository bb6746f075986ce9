/** Records in the memory of this process: for tests and single processes; bounded. */
import { PARAPET_PRIVACY_INVALID_ARGUMENT } from '../errors.ts'
import type { RecordFilter, Records, StoredRecord } from './records.ts'

const MAX_RECORDS = 100_000

/** @param maxRecords further records are refused. @default 100_000 */
export function createMemoryRecords(maxRecords = MAX_RECORDS): Records {
  const records = new Map<string, string>()
  const keys = new Set<string>()
  // As JSON, so that a caller's object and the stored one never share state.
  const read = (id: string) => {
    const text = records.get(id)
    return text === undefined ? null : (JSON.parse(text) as StoredRecord)
  }
  const write = (record: StoredRecord, former: StoredRecord | null): boolean => {
    const [key, formerKey] = [keyOf(record), former === null ? undefined : keyOf(former)]
    if (key !== undefined && key !== formerKey && keys.has(key)) return false
    if (formerKey !== undefined) keys.delete(formerKey)
    if (key !== undefined) keys.add(key)
    records.set(idOf(record), JSON.stringify(record))
    return true
  }
  return {
    async insert(record) {
      if (records.has(idOf(record))) return false
      if (records.size >= maxRecords) {
        throw new PARAPET_PRIVACY_INVALID_ARGUMENT('"records"', `are full: ${maxRecords} are kept`)
      }
      return write({ ...record, version: 1 }, null)
    },
    find: async <Body>(kind: StoredRecord['kind'], id: string) =>
      read(idOf({ kind, id })) as StoredRecord<Body> | null,
    async save(record) {
      const former = read(idOf(record))
      if (former?.version !== record.version) return false
      return write({ ...record, version: record.version + 1 }, former)
    },
    async list<Body>(kind: StoredRecord['kind'], filter: RecordFilter) {
      const found = [...records.values()].map((text) => JSON.parse(text) as StoredRecord<Body>)
      return select(
        found.filter((record) => record.kind === kind),
        filter,
      )
    },
    missing: async (kind, ids) => ids.filter((id) => !records.has(idOf({ kind, id }))),
    async remove(kind, id) {
      const former = read(idOf({ kind, id }))
      if (former === null) return false
      const key = keyOf(former)
      if (key !== undefined) keys.delete(key)
      return records.delete(idOf(former))
    },
  }
}

function select<Body>(
  records: StoredRecord<Body>[],
  { owner, topic, after, limit, order = 'latest' }: RecordFilter,
): StoredRecord<Body>[] {
  const sign = order === 'latest' ? -1 : 1
  const compare = (a: { time: number; id: string }, b: { time: number; id: string }): number =>
    sign * (a.time - b.time || (a.id < b.id ? -1 : Number(a.id > b.id)))
  return records
    .filter((record) => owner === undefined || record.owner === owner)
    .filter((record) => topic === undefined || record.topic === topic)
    .filter((record) => after === undefined || compare(record, after) > 0)
    .toSorted(compare)
    .slice(0, limit)
}

function idOf({ kind, id }: Pick<StoredRecord, 'kind' | 'id'>): string {
  return `${kind} ${id}`
}

function keyOf({ kind, uniqueKey }: Pick<StoredRecord, 'kind' | 'uniqueKey'>): string | undefined {
  return uniqueKey === null ? undefined : `${kind} ${uniqueKey}`
}
