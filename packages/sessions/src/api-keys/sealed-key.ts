/** The seal of an API key: it covers what the key is and what it may do. */
import type { RecordSeal } from '../secrets/record-seal.ts'
import type { ApiKeyRecord } from './repository.ts'

/** The record with a new seal. */
export function sealKey(seal: RecordSeal, record: ApiKeyRecord): ApiKeyRecord {
  return { ...record, seal: seal.tagOf('api-key', record.id, bodyOf(record)) }
}

/**
 * Checks the seal of a record that was found under an id.
 *
 * @returns `former`: seal it again; `null`: it is refused, and reported.
 */
export function checkKeySeal(
  seal: RecordSeal,
  id: string,
  record: ApiKeyRecord,
): 'current' | 'former' | null {
  return seal.accept('api-key', id, bodyOf(record), record.seal)
}

function bodyOf(record: ApiKeyRecord): string {
  const { id, ownerId, name, roles, scopes, createdAt, expiresAt, rotatedAt, hash } = record
  const { previous } = record
  const former = previous === null ? null : [previous.hash, previous.until]
  const times = [createdAt, expiresAt, rotatedAt]
  return JSON.stringify([id, ownerId, name, roles, scopes, times, hash, former])
}
