/** Checks of everything that the audit log depends on. */
import { statfs } from 'node:fs/promises'
import type { LogState, LogStore } from '../log/log-store.ts'
import { formatVerifierKey, isKeyName } from '../log/signed-note.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { LogKeys } from '../trust/keys.ts'
import { faultOfState } from '../trust/signed-state.ts'
import type { RecordFlow } from './status.ts'

/** The result of one check. */
export interface DoctorCheck {
  readonly check:
    | 'key'
    | 'log'
    | 'clock'
    | 'disk'
    | 'store'
    | 'checkpoint'
    | 'entries'
    | 'cipher'
    | 'roles'
  readonly ok: boolean
  readonly detail: string
}

/** What {@link runDoctor} checks. */
export interface DoctorSources {
  readonly store: LogStore
  /** Whether the cipher decrypts what was encrypted before; `undefined`: there is no personal data. */
  readonly canOpen: boolean | undefined
  readonly keys: Pick<LogKeys, 'signer' | 'trusted'>
  readonly flow: Pick<RecordFlow, 'storeIsUp' | 'halted'>
  readonly folder: string
  readonly spoolMaxBytes: number
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

const MAX_SKEW_MS = 5000
const CAN_EDIT =
  'this database role can update log entries; give each role only what it needs with grantsFor()'

const CANNOT_OPEN =
  'it does not decrypt what was encrypted at the first start; give it the former key as well'

/** Runs every check; never rejects. */
export async function runDoctor(sources: DoctorSources): Promise<readonly DoctorCheck[]> {
  const { store, keys, flow, folder, spoolMaxBytes, now } = sources
  const { signer, trusted } = keys
  const state = await store.state().catch((error: unknown) => error as Error)
  const isDown = state instanceof Error
  const fault = isDown || state === null ? undefined : faultOfState(state, trusted)
  const newest = isDown ? [] : await store.search({}, Number.MAX_SAFE_INTEGER, 1).catch(() => [])
  const skewMs = (parseLeaf(newest[0]?.leaf ?? '')?.time ?? 0) - now()
  const free = await freeBytes(folder)
  const { halted, storeIsUp } = flow
  return [
    check('key', isKeyName(signer.key.name), formatVerifierKey(signer.key)),
    check('store', !isDown && storeIsUp, isDown ? 'the store does not answer' : store.kind),
    check('log', halted === undefined, halted ?? 'sequencing works'),
    check('checkpoint', fault === undefined, fault ?? 'signed by a key of this log'),
    ...(isDown || state === null ? [] : [await checkEntries(store, state, now())]),
    ...checkCipher(sources.canOpen),
    check('clock', skewMs < MAX_SKEW_MS, `the newest record is ${Math.max(0, skewMs)} ms ahead`),
    ...(await checkRoles(store)),
    check('disk', free >= spoolMaxBytes, `${free} bytes free, the spool may use ${spoolMaxBytes}`),
  ]
}

/** The first entry, the last one, and another one each time. */
async function checkEntries(
  store: LogStore,
  { minIndex, size }: LogState,
  now: number,
): Promise<DoctorCheck> {
  if (size === minIndex) return check('entries', true, 'the log has no entries')
  const wanted = new Set([minIndex, size - 1, minIndex + (Math.floor(now) % (size - minIndex))])
  for (const index of wanted) {
    const found = await store.entries(index, index + 1).catch(() => [])
    if (found.length === 0) return check('entries', false, `the entry ${index} cannot be read`)
  }
  return check('entries', true, `${wanted.size} of ${size} entries were read`)
}

function checkCipher(canOpen: boolean | undefined): DoctorCheck[] {
  if (canOpen === undefined) return []
  return [check('cipher', canOpen, canOpen ? 'decrypts earlier values' : CANNOT_OPEN)]
}

async function checkRoles(store: LogStore): Promise<DoctorCheck[]> {
  if (store.mayEdit === undefined) return []
  const mayEdit = await store.mayEdit().catch(() => false)
  return [check('roles', !mayEdit, mayEdit ? CAN_EDIT : 'this role cannot update log entries')]
}

function check(name: DoctorCheck['check'], ok: boolean, detail: string): DoctorCheck {
  return { check: name, ok, detail }
}

async function freeBytes(folder: string): Promise<number> {
  const disk = await statfs(folder).catch(() => undefined)
  return disk === undefined ? 0 : disk.bavail * disk.bsize
}
