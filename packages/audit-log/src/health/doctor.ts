/** Checks of everything that the audit log depends on. */
import { statfs } from 'node:fs/promises'
import type { LogStore } from '../log/log-store.ts'
import { formatVerifierKey, isKeyName } from '../log/signed-note.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { LogKeys } from '../trust/keys.ts'
import { faultOfState } from '../trust/signed-state.ts'

/** The result of one check. */
export interface DoctorCheck {
  readonly check: 'key' | 'log' | 'clock' | 'disk' | 'store' | 'checkpoint' | 'roles'
  readonly ok: boolean
  readonly detail: string
}

/** What {@link runDoctor} checks. */
export interface DoctorSources {
  readonly store: LogStore
  readonly keys: Pick<LogKeys, 'signer' | 'trusted'>
  readonly pipeline: Pipeline
  readonly folder: string
  readonly spoolMaxBytes: number
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

const MAX_SKEW_MS = 5000
const CAN_EDIT =
  'this database role can update log entries; give each role only what it needs with grantsFor()'

/** Runs every check; never rejects. */
export async function runDoctor(sources: DoctorSources): Promise<readonly DoctorCheck[]> {
  const { store, keys, pipeline, folder, spoolMaxBytes, now } = sources
  const { signer, trusted } = keys
  const state = await store.state().catch((error: unknown) => error as Error)
  const isDown = state instanceof Error
  const fault = isDown || state === null ? undefined : faultOfState(state, trusted)
  const newest = isDown ? [] : await store.search({}, Number.MAX_SAFE_INTEGER, 1).catch(() => [])
  const skewMs = (parseLeaf(newest[0]?.leaf ?? '')?.time ?? 0) - now()
  const free = await freeBytes(folder)
  const { halted } = pipeline.sequencer
  return [
    check('key', isKeyName(signer.key.name), formatVerifierKey(signer.key)),
    check(
      'store',
      !isDown && pipeline.storeIsUp,
      isDown ? 'the store does not answer' : store.kind,
    ),
    check('log', halted === undefined, halted ?? 'sequencing works'),
    check('checkpoint', fault === undefined, fault ?? 'signed by a key of this log'),
    check('clock', skewMs < MAX_SKEW_MS, `the newest record is ${Math.max(0, skewMs)} ms ahead`),
    ...(await checkRoles(store)),
    check('disk', free >= spoolMaxBytes, `${free} bytes free, the spool may use ${spoolMaxBytes}`),
  ]
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
