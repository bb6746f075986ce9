/**
 * Statements: records that excuse a hole in the log (a gap, a pruning) carry a signature of the log's
 * key of their own, so that nobody but its holder can excuse one.
 */
import { verify } from 'node:crypto'
import { decodeBase64, type NoteKey } from '../log/signed-note.ts'
import type { LogSigner } from '../log/signing-key.ts'
import { canonicalize, toJson, type JsonObject } from '../record/canonical-json.ts'
import type { AuditRecord, Draft } from '../record/leaf.ts'

const ID_BYTES = 4

/** Adds the signature to the data of a record. */
export async function signStatement(draft: Draft, signer: LogSigner): Promise<void> {
  const data = draft.data as JsonObject
  const { name, id } = signer.key
  const keyId = Buffer.alloc(ID_BYTES)
  keyId.writeUInt32BE(id)
  const signature = await signer.sign(textOf(name, draft.id, draft.action!, data))
  const encoded = Buffer.concat([keyId, signature]).toString('base64')
  draft.data = toJson({ ...data, signature: encoded })
}

/**
 * Whether a record is a statement by one of the keys.
 *
 * @returns `'forged'` if its signature is missing or wrong, `'unknown'` if it is by another key.
 */
export function checkStatement(
  { id, action, data }: AuditRecord,
  keys: readonly NoteKey[],
): 'signed' | 'unknown' | 'forged' {
  const { signature, ...signed } = (data ?? {}) as JsonObject
  const bytes = typeof signature === 'string' ? decodeBase64(signature) : undefined
  if (bytes === undefined || bytes.length <= ID_BYTES) return 'forged'
  const keyId = bytes.readUInt32BE()
  const known = keys.filter((key) => key.id === keyId)
  if (known.length === 0) return 'unknown'
  const isSigned = known.some(({ name, publicKey }) =>
    verify(null, textOf(name, id, action, signed), publicKey, bytes.subarray(ID_BYTES)),
  )
  return isSigned ? 'signed' : 'forged'
}

/** The first line differs from that of every checkpoint, so that neither passes for the other. */
function textOf(origin: string, id: string, action: string, data: JsonObject): Buffer {
  const lines = ['parapet-audit-log/statement', origin, id, action, canonicalize(data), '']
  return Buffer.from(lines.join('\n'))
}
