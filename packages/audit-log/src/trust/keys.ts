/** The keys of a log: of now and of earlier, for signatures and for MACs. */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_KEY_UNUSABLE } from '../errors.ts'
import { parseVerifierKey, type NoteKey } from '../log/signed-note.ts'
import {
  createSigner,
  SigningFailed,
  type LogSigner,
  type PemKey,
  type RemoteKey,
} from '../log/signing-key.ts'
import type { TrustedKeys } from './signed-state.ts'
import { deriveWriterSecret, WriterKey } from './writer-key.ts'

/** What {@link openKeys} needs. */
export interface KeySettings {
  readonly origin: string
  readonly key: PemKey | RemoteKey | KeyObject
  readonly formerKeys: readonly (string | PemKey)[]
  readonly writerKey: Uint8Array | undefined
  /** Whether the log may be signed by an unknown key. */
  readonly acceptsLostKey: boolean
  /** The longest that one signature may take. */
  readonly deadlineMs: number
  readonly clock: Clock
}

/** The keys in the forms in which the parts of the service use them. */
export interface LogKeys {
  readonly signer: LogSigner
  readonly trusted: TrustedKeys
  readonly writerKey: WriterKey
}

/** Opens the keys. @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE */
export async function openKeys(settings: KeySettings): Promise<LogKeys> {
  const { origin, formerKeys, acceptsLostKey } = settings
  const signer = limitSigning(await createSigner(origin, settings.key), settings)
  const former: (NoteKey | LogSigner)[] = []
  for (const source of formerKeys) former.push(await openFormer(origin, source))
  const keys = former.map((item) => ('sign' in item ? item.key : item))
  const secrets = [
    ...(settings.writerKey === undefined ? [] : [createSecretKey(settings.writerKey)]),
    ...[signer, ...former].flatMap((item) =>
      'sign' in item && item.privateKey !== undefined ? deriveWriterSecret(item.privateKey) : [],
    ),
  ]
  return {
    signer,
    trusted: { keys: [signer.key, ...keys], acceptsLostKey },
    writerKey: new WriterKey(origin, secrets),
  }
}

/** A private former key also authenticates what its writers left in the inbox. */
async function openFormer(origin: string, source: string | PemKey): Promise<NoteKey | LogSigner> {
  if (typeof source !== 'string') return createSigner(origin, source)
  const key = parseVerifierKey(source)
  if (key?.name === origin) return key
  throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(
    `a public key in "formerKeys" must be of the log "${origin}"`,
  )
}

/** A key service that never answers must not stop the sequencer. */
function limitSigning(signer: LogSigner, { deadlineMs, clock }: KeySettings): LogSigner {
  const late = () => new SigningFailed(`the signing key did not answer within ${deadlineMs} ms`)
  return {
    ...signer,
    async sign(bytes) {
      try {
        return await withDeadline(signer.sign(bytes), deadlineMs, late, clock)
      } catch (error) {
        throw new SigningFailed((error as Error).message, { cause: error })
      }
    },
  }
}
