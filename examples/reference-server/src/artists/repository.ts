/** Stores artists. Each telephone number is encrypted and bound to its row. */
import type { FieldEncryption } from '@parapet/field-encryption'
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { createTable, type RowOf, type Table, type TableShape } from '../storage/table.ts'
import { EncryptedArtist, type NewArtist } from './schemas.ts'

/** The dependencies of the repository. */
export interface ArtistPorts {
  readonly sql: SqlQueryable
  readonly fieldEncryption: FieldEncryption
  /**
   * Whether the keyset is saved. If not, telephone numbers of an earlier process cannot be decrypted
   * and are left out.
   */
  readonly isKeysetSaved: boolean
  /** Receives a warning for each telephone number that cannot be decrypted. */
  readonly log: Pick<FastifyBaseLogger, 'warn'>
}

type ArtistRow = RowOf<NewArtist>

const shape: TableShape<NewArtist> = {
  name: 'artists',
  columns: {
    name: 'name',
    genres: 'genres',
    hourlyRateMinor: 'hourly_rate_minor',
    currency: 'currency',
    bio: 'bio',
    available: 'available',
    phone: 'phone',
  },
  conflicts: {},
}

/** Creates the repository of artists. */
export function createArtists({
  sql,
  fieldEncryption,
  isKeysetSaved,
  log,
}: ArtistPorts): Table<NewArtist> {
  const rows = createTable<NewArtist>(sql, shape)
  const encrypted = fieldEncryption.table('artists', EncryptedArtist)

  async function encryptPhone<V extends Partial<NewArtist>>(id: string, values: V): Promise<V> {
    if (values.phone === undefined) return values
    const { phone } = await encrypted.encryptRecord({ id, phone: values.phone })
    return { ...values, phone: phone as string }
  }

  /** Leaves out a number that cannot be decrypted: one bad row must not fail a page for everybody. */
  async function decrypt(stored: readonly ArtistRow[]): Promise<ArtistRow[]> {
    const opened = await encrypted.decryptMany(stored.map(withoutNull), { unreadable: 'withhold' })
    for (const [index, { id, phone }] of stored.entries()) {
      // The start has warned once that all numbers of earlier processes are lost.
      if (!isKeysetSaved || (phone as string | null) === null || 'phone' in opened[index]!) continue
      log.warn({ artistId: id }, 'left out a telephone number that cannot be decrypted')
    }
    return opened as ArtistRow[]
  }

  const decryptOne = async (row: ArtistRow) => (await decrypt([row]))[0]!
  return {
    async insert(values, id = uuidV7()) {
      return decryptOne(await rows.insert(await encryptPhone(id, values), id))
    },
    find: async (id) => decryptOne(await rows.find(id)),
    lock: async (id) => decryptOne(await rows.lock(id)),
    async list(page) {
      const { items, ...rest } = await rows.list(page)
      return { ...rest, items: await decrypt(items) }
    },
    async update(id, changes, versions) {
      return decryptOne(await rows.update(id, await encryptPhone(id, changes), versions))
    },
    remove: (id, versions) => rows.remove(id, versions),
  }
}

/** The database returns null for an artist without a number; the response leaves it out. */
function withoutNull(row: ArtistRow): object {
  if ((row.phone as string | null) !== null) return row
  const { phone: _none, ...rest } = row
  return rest
}
