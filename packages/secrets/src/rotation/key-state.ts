/** The record of an API key and its rotation in a provider. */
import { PARAPET_SECRETS_PROVIDER_FAILED } from '../errors.ts'
import type { WritableProvider } from '../providers/provider.ts'
import { Secret } from '../value/secret.ts'

/** The last step that was done. */
export type RotationStep = 'idle' | 'stored' | 'updated' | 'promoted'

/** The members of the record: texts only, so that every store can hold them. */
export interface KeyState {
  readonly step: RotationStep
  /** The key that the service uses. */
  readonly current?: Secret | undefined
  /** The key that is being introduced. */
  readonly next?: Secret | undefined
  /** The key that is retired after the grace period. */
  readonly previous?: Secret | undefined
  /** Of the rotation that runs, or of the last one. */
  readonly rotationId?: string | undefined
  readonly since?: number | undefined
}

const STEPS: readonly string[] = ['idle', 'stored', 'updated', 'promoted'] satisfies RotationStep[]
const KEYS = ['current', 'next', 'previous'] as const
const OWN: readonly string[] = [...KEYS, 'step', 'rotationId', 'since']

/** What a record has besides the state; a write keeps it. */
export interface StoredKey {
  readonly version: string | null
  /** Members that do not belong to the rotation, such as a user name or an address. */
  readonly others: Readonly<Record<string, string>>
}

/** Reads the record; a key that was stored by hand as `current` has no rotation yet. */
export async function readKeyState(
  provider: WritableProvider,
  path: string,
): Promise<{ readonly state: KeyState } & StoredKey> {
  const found = await provider.readRecord(path)
  if (found === null) return { state: { step: 'idle' }, version: null, others: {} }
  const { record, version } = found
  const step = record['step'] ?? 'idle'
  if (!STEPS.includes(step)) {
    throw new PARAPET_SECRETS_PROVIDER_FAILED(
      provider.name,
      `${path}: the member "step" is unknown`,
    )
  }
  const keys = Object.fromEntries(
    KEYS.flatMap((key) => (record[key] === undefined ? [] : [[key, new Secret(record[key])]])),
  )
  const since = Number(record['since'] ?? Number.NaN)
  return {
    state: {
      ...keys,
      step: step as RotationStep,
      rotationId: record['rotationId'],
      since: Number.isFinite(since) ? since : undefined,
    },
    version,
    others: Object.fromEntries(Object.entries(record).filter(([member]) => !OWN.includes(member))),
  }
}

/** Replaces the members of the rotation. @throws PARAPET_SECRETS_CONFLICT */
export async function writeKeyState(
  provider: WritableProvider,
  path: string,
  state: KeyState,
  { version, others }: StoredKey,
): Promise<void> {
  const record: Record<string, string> = { ...others, step: state.step }
  for (const key of KEYS) {
    const value = state[key]?.use((text) => text)
    if (value !== undefined) record[key] = value
  }
  if (state.rotationId !== undefined) record['rotationId'] = state.rotationId
  if (state.since !== undefined) record['since'] = String(state.since)
  await provider.writeRecord(path, record, version)
}
