/** Finds the identity of rows (tenant, row id, subject) and the keys that seal them. */
import { keyIdOf } from '@parapet/kit'
import { isName } from '../call-options.ts'
import type { FoundRing, KeyRing, KeySource } from '../key-ring/key-ring.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from '../errors.ts'
import type { Row } from './row-source.ts'
import type { RecordCipher, RowPlace } from './record-cipher.ts'
import { spellRowId } from './row-id.ts'
import type { RecordScope, TableOptions } from './table-options.ts'

/** A row and its identity, before its keys are loaded. */
export interface LocatedRow {
  readonly row: Row
  readonly tenant: string
  readonly rowId: string
  /** Other spellings of the id, under which earlier versions may have sealed the row. */
  readonly formerRowIds: () => readonly string[]
  readonly subject: string | null
}

/** The place of a stored row; or that its keys were destroyed, or that its identity is incomplete. */
export type StoredPlace = RowPlace | 'forgotten' | 'unlocated'

/** Locates the rows of one table. */
export class RowLocator {
  readonly #bind: readonly string[]
  readonly #options: TableOptions
  readonly #keys: KeySource

  /** @param bind the members that values are bound to */
  constructor(bind: readonly string[], options: TableOptions, keys: KeySource) {
    this.#bind = bind
    this.#options = options
    this.#keys = keys
  }

  /** Reads a row's identity. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
  locate(row: Row, scope: RecordScope): LocatedRow {
    const { subject } = this.#options
    const ids = this.#bind.map((member) => readName(row[member], member))
    const { rowId, formerRowIds } = spellRowId(ids)
    return {
      row,
      tenant: this.#readTenant(row, scope),
      rowId,
      formerRowIds,
      subject: subject === undefined ? null : readName(row[subject], subject),
    }
  }

  #readTenant(row: Row, scope: RecordScope): string {
    const { tenant: member } = this.#options
    const stated = member === undefined ? undefined : row[member]
    if (stated === undefined) {
      if (member !== undefined && scope.tenant === undefined) {
        refuseArgument(`the member "${member}"`, 'must be the tenant of the row, got undefined')
      }
      return scope.tenant ?? ''
    }
    const tenant = readName(stated, member!)
    if (scope.tenant !== undefined && tenant !== scope.tenant) {
      refuseArgument('the tenant', 'must be that of the row, got another one')
    }
    return tenant
  }

  /**
   * Finds the keys of rows.
   *
   * @param create whether missing keys are created.
   * @param lenient `'forgotten'`: returned for a row whose keys were destroyed. `'all'`: also
   *   `'unlocated'` for a row whose keys never existed.
   * @throws PARAPET_FIELD_ENCRYPTION_FORGOTTEN, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
   *   PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE
   */
  async findPlaces(
    located: readonly LocatedRow[],
    create: boolean,
    lenient: 'none' | 'forgotten' | 'all' = 'none',
  ): Promise<StoredPlace[]> {
    const scopes = located.flatMap(({ tenant, subject }) => [
      { tenant, subject: null },
      { tenant, subject },
    ])
    const rings = await this.#keys.find(scopes, create)
    return located.map(({ tenant, rowId, formerRowIds }, index) => {
      const ring = rings[2 * index + 1]
      if (ring === 'forgotten' && lenient !== 'none') return 'forgotten'
      if (ring === null && lenient === 'all') return 'unlocated'
      const indexRing = requireRing(rings[2 * index])
      return { tenant, rowId, formerRowIds, ring: requireRing(ring), indexRing }
    })
  }

  /**
   * Finds the places of stored rows. Keys that another instance has just created are loaded first.
   *
   * @param create whether missing keys are created.
   * @returns `'unlocated'` for a row that lacks its id, its tenant, its subject or its keys.
   */
  async findStored(
    rows: readonly Row[],
    tenant: string | undefined,
    cipher: RecordCipher,
    create: boolean,
  ): Promise<StoredPlace[]> {
    const located = rows.map((row) => {
      try {
        return this.locate(row, tenant === undefined ? {} : { tenant })
      } catch {
        return undefined
      }
    })
    const known = located.filter((each) => each !== undefined)
    await this.refreshUnknownKeys(known, cipher, create)
    const places = await this.findPlaces(known, create, 'all')
    let next = 0
    return located.map((each) => (each === undefined ? 'unlocated' : places[next++]!))
  }

  /**
   * Asks for a reload of keys if rows have ciphertexts with unknown key ids.
   *
   * @returns whether any keys will be reloaded.
   */
  async refreshUnknownKeys(
    located: readonly LocatedRow[],
    cipher: RecordCipher,
    create: boolean,
  ): Promise<boolean> {
    const places = await this.findPlaces(located, create, 'all')
    let refreshed = false
    for (const [index, { row, tenant, subject }] of located.entries()) {
      const place = places[index]
      if (place === undefined || typeof place === 'string') continue
      for (const { sealed } of cipher.inspect(row)) {
        if (sealed === undefined || place.ring.aead.hasKey(keyIdOf(sealed))) continue
        refreshed = this.#keys.refresh({ tenant, subject }, keyIdOf(sealed)) || refreshed
      }
    }
    return refreshed
  }
}

/** Reads a name of a row. Drivers return an int8 as a string or a bigint. */
function readName(value: unknown, member: string): string {
  if (isName(value) && value !== '') return value
  // From a request, as a rule: the client has sent it.
  if (typeof value === 'string' && value.includes('\0')) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(member, 'text without NUL')
  }
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value)
  const problem = `must be a non-empty string or an integer, got ${describe(value)}`
  return refuseArgument(`the member "${member}"`, problem)
}

function describe(value: unknown): string {
  if (value === '') return 'an empty string'
  return value === null ? 'null' : typeof value === 'number' ? String(value) : typeof value
}

/** @throws PARAPET_FIELD_ENCRYPTION_FORGOTTEN, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
export function requirePlace(place: StoredPlace | undefined): RowPlace {
  if (place === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
  if (place === undefined || place === 'unlocated') throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  return place
}

/** @throws PARAPET_FIELD_ENCRYPTION_FORGOTTEN, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
export function requireRing(ring: FoundRing | undefined): KeyRing {
  if (ring === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
  // The scope never had keys, so no key of it can have sealed the value.
  if (ring === null || ring === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  return ring
}

/** @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function refuseArgument(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
