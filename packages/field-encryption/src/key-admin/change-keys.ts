/** Reads, changes and conditionally writes a key record, until no other instance wrote in between. */
import { conflict, retryConflicts, type Clock } from '@parapet/kit'
import { callOption, checkCall } from '../call-options.ts'
import { createAead, type Aead } from '../crypto/aead.ts'
import type { KeyScope } from '../key-ring/key-ring.ts'
import type { Keyset } from '../crypto/keyset.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
} from '../errors.ts'
import type { KeyRecord } from '../keys/key-store.ts'
import {
  UnknownWrapperError,
  type KeysetRepository,
  type LoadedKeys,
} from '../keys/keyset-repository.ts'

/** Selects the keys of a tenant or, with `subject`, of one subject. */
export interface KeyTarget {
  /** @default '', in a service with one tenant */
  readonly tenant?: string
  readonly subject?: string
}

/** What {@link createKeyChanger} needs. */
export interface KeyChangerPorts {
  readonly repository: KeysetRepository
  readonly clock: Clock
  /** Announces to every instance, this one included, that the keys of a scope have changed. */
  readonly announce: (scope: KeyScope) => Promise<void>
}

/** A scope's keys as loaded, and the AEAD that wraps its keyset (`null`: the provider does). */
interface LoadedScope {
  readonly loaded: LoadedKeys
  readonly wrapper: Aead | null
  readonly tenantAead: Aead
}

/** Changes key records. */
export interface KeyChanger {
  /** Loads the keys of a scope; creates missing ones. @throws PARAPET_FIELD_ENCRYPTION_FORGOTTEN */
  load(scope: KeyScope): Promise<LoadedScope>
  /** Loads the keys of a scope; `null` if it has none yet. @throws PARAPET_FIELD_ENCRYPTION_FORGOTTEN */
  find(scope: KeyScope): Promise<LoadedScope | null>
  /**
   * Changes the record of a scope and announces the change.
   *
   * @param edit returns the next version of the record; it runs again after a conflict.
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE every attempt conflicted.
   */
  change(
    scope: KeyScope,
    edit: (loaded: LoadedKeys, wrapper: Aead | null) => Promise<KeyRecord>,
  ): Promise<void>
}

const unavailable = () => new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()

/** Creates a {@link KeyChanger}. */
export function createKeyChanger({ repository, announce }: KeyChangerPorts): KeyChanger {
  async function loadOnce(
    { tenant, subject }: KeyScope,
    create: boolean,
  ): Promise<LoadedScope | null> {
    const own = await repository.loadTenant(tenant, create)
    if (own === null) return null
    const tenantAead = createAead(own.keyset)
    if (subject === null) return { loaded: own, wrapper: null, tenantAead }
    const [loaded] = await repository.loadSubjects(tenant, [subject], tenantAead, create)
    if (loaded === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
    return loaded === null || loaded === undefined
      ? null
      : { loaded, wrapper: tenantAead, tenantAead }
  }

  const attempt = (scope: KeyScope, create: boolean): Promise<LoadedScope | null> =>
    retryConflicts<LoadedScope | null>(async () => {
      try {
        return await loadOnce(scope, create)
      } catch (error) {
        // The tenant's keys were rotated between the two reads.
        if (error instanceof UnknownWrapperError) return conflict
        throw error
      }
    }, unavailable)

  const load = async (scope: KeyScope): Promise<LoadedScope> => {
    const found = await attempt(scope, true)
    if (found === null) throw unavailable()
    return found
  }

  return {
    load,
    find: (scope) => attempt(scope, false),
    async change(scope, edit) {
      await retryConflicts(async () => {
        const { loaded, wrapper } = await load(scope)
        const next = await edit(loaded, wrapper)
        return (await repository.query((store) => store.update(next))) ? undefined : conflict
      }, unavailable)
      await announce(scope)
    },
  }
}

/** The options that select keys. */
const keyTargetTable = { tenant: callOption.name, subject: callOption.name }

/** The scope that a target selects. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function scopeOf(call: string, target: KeyTarget = {}): KeyScope {
  checkCall<KeyTarget>(call, target, keyTargetTable)
  const { tenant = '', subject = '' } = target
  return { tenant, subject: subject === '' ? null : subject }
}

/** The ids of the enabled keys. */
export function enabledKeyIds({ keys }: Keyset): number[] {
  return keys.filter(({ status }) => status === 'enabled').map(({ id }) => id)
}
