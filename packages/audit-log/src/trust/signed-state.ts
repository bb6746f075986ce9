/** The stored state of a log must be what its last checkpoint signs. */
import { PARAPET_AUDIT_LOG_CORRUPT, PARAPET_AUDIT_LOG_KEY_UNUSABLE } from '../errors.ts'
import { parseCheckpoint } from '../log/checkpoint.ts'
import type { LogState } from '../log/log-store.ts'
import { EMPTY_ROOT } from '../log/merkle-tree.ts'
import { openNote, type NoteKey } from '../log/signed-note.ts'

/** Which keys may have signed the log so far. */
export interface TrustedKeys {
  /** The current key and the former ones. */
  readonly keys: readonly NoteKey[]
  /** Whether a checkpoint by an unknown key is accepted: the key of the log was lost. */
  readonly acceptsLostKey: boolean
}

/**
 * What is wrong with a state; `undefined` if its last checkpoint signs it.
 *
 * Nothing else protects the state from a process that may write its row: whatever it says is what
 * the next checkpoint would sign.
 */
export function faultOfState(
  { origin, size, root, note }: LogState,
  trusted: TrustedKeys,
): string | undefined {
  if (size === 0) {
    return root.equals(EMPTY_ROOT) ? undefined : 'the state of the empty log has a root'
  }
  const opened = openNote(note, trusted.keys)
  if (opened === 'unsigned') {
    if (trusted.acceptsLostKey) return undefined
    return 'its last checkpoint is signed by another key; set "key" to the key of the log, or name that key in "formerKeys"'
  }
  if (typeof opened === 'string') return `its last checkpoint is ${opened}`
  const checkpoint = parseCheckpoint(opened.text)
  if (checkpoint === undefined) return 'its last checkpoint is malformed'
  const isSame =
    checkpoint.origin === origin && checkpoint.size === size && checkpoint.root.equals(root)
  return isSame ? undefined : 'its state differs from its last checkpoint'
}

/**
 * Refuses a key that did not sign the log so far: its checkpoints would not verify beside the earlier
 * ones, and the rows of its writers would be refused.
 *
 * @throws PARAPET_AUDIT_LOG_KEY_UNUSABLE
 */
export function requireKnownKey(state: LogState | null, trusted: TrustedKeys): void {
  if (state === null || state.size === 0 || trusted.acceptsLostKey) return
  if (openNote(state.note, trusted.keys) !== 'unsigned') return
  throw new PARAPET_AUDIT_LOG_KEY_UNUSABLE(
    'the log is signed by another key; give all instances the same "key", and name earlier keys in "formerKeys"',
  )
}

/** @throws PARAPET_AUDIT_LOG_CORRUPT */
export function requireSignedState(state: LogState, trusted: TrustedKeys): void {
  const fault = faultOfState(state, trusted)
  if (fault !== undefined) throw new PARAPET_AUDIT_LOG_CORRUPT(fault)
}
