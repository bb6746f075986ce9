/** Notices at the boot that the secrets of personal data were exchanged. */
import type { KeyObject } from 'node:crypto'
import type { Cipher } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_HASH_KEY_CHANGED } from '../errors.ts'
import type { LogStore } from '../log/log-store.ts'
import { keyedHash } from '../record/marks.ts'

/** What is stored; it reveals nothing of the secrets. */
interface SecretCheck {
  /** A keyed hash. */
  readonly hashKey: string
  /** An encrypted text, if there is a cipher. */
  readonly cipher?: string
}

const TEXT = 'audit-log'
const CONTEXT = ['audit-log', 'secret-check']

/**
 * Compares the secrets with those of the first start.
 *
 * @returns whether the cipher decrypts what was encrypted then; a service may merely be down.
 * @throws PARAPET_AUDIT_LOG_HASH_KEY_CHANGED
 */
export async function checkSecrets(
  store: Pick<LogStore, 'secretCheck' | 'keepSecretCheck'>,
  hashKey: KeyObject,
  cipher: Cipher | undefined,
): Promise<boolean> {
  const hash = keyedHash(hashKey, 'check', TEXT)
  const stored = parse(await store.secretCheck())
  if (stored !== undefined && stored.hashKey !== hash) {
    throw new PARAPET_AUDIT_LOG_HASH_KEY_CHANGED()
  }
  if (cipher === undefined || stored?.cipher !== undefined) {
    if (stored === undefined) await store.keepSecretCheck(JSON.stringify({ hashKey: hash }))
    return cipher === undefined || opens(cipher, stored!.cipher!)
  }
  const sealed = await cipher.seal(TEXT, CONTEXT).catch(() => undefined)
  if (sealed === undefined) return false
  const check: SecretCheck = { hashKey: hash, cipher: sealed }
  await store.keepSecretCheck(JSON.stringify(check))
  return true
}

async function opens(cipher: Cipher, sealed: string): Promise<boolean> {
  try {
    return (await cipher.open(sealed, CONTEXT)).toString() === TEXT
  } catch {
    return false
  }
}

/** Of a text that is damaged nothing is known. */
function parse(text: string | undefined): SecretCheck | undefined {
  try {
    const check = JSON.parse(text ?? '') as Partial<SecretCheck> | null
    return typeof check?.hashKey === 'string' ? (check as SecretCheck) : undefined
  } catch {
    return undefined
  }
}
