/** Stores artists. Each telephone number is encrypted and bound to its row. */
import {
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  type FieldEncryption,
  type Table as EncryptedTable,
} from '@parapet/field-encryption'
import { uuidV7, type SqlClient } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { createTable, type RowOf, type Table } from '../storage/table.ts'
import { EncryptedArtist, type NewArtist } from './schemas.ts'

/** The dependencies of the repository. */
export interface ArtistPorts {
  readonly sql: SqlClient
  readonly fieldEncryption: FieldEncryption
  /**
   * Whether the keyset is saved. If not, telephone numbers of an earlier process cannot be decrypted
   * and are left out.
   */
  readonly isKeysetSaved: boolean
  /** Receives a warning for each telephone number that cannot be decrypted. */
  readonly log: Pick<FastifyBaseLogger, 'warn'>
}

/** Creates the repository of artists. */
export function createArtists({
  sql,
  fieldEncryption,
  isKeysetSaved,
  log,
}: ArtistPorts): Table<NewArtist> {
  const rows = createTable<NewArtist>(sql, {
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
  })
  const encrypted = fieldEncryption.table('artists', EncryptedArtist)
  const onUnreadable = (error: Error, { id }: RowOf<NewArtist>) => {
    // The start has warned once that all numbers of earlier processes are lost.
    if (!isKeysetSaved) return
    log.warn({ err: error, artistId: id }, 'left out a telephone number that cannot be decrypted')
  }
  const decrypt = (row: RowOf<NewArtist>) => decryptRow(encrypted, row, onUnreadable)
  return {
    async insert(values, id = uuidV7()) {
      return decrypt(await rows.insert(await encryptPhone(encrypted, id, values), id))
    },
    find: async (id) => decrypt(await rows.find(id)),
    async list(page) {
      const { items, ...rest } = await rows.list(page)
      return { ...rest, items: await Promise.all(items.map(decrypt)) }
    },
    async update(id, changes, versions) {
      return decrypt(await rows.update(id, await encryptPhone(encrypted, id, changes), versions))
    },
    remove: (id, versions) => rows.remove(id, versions),
  }
}

async function encryptPhone<V extends Partial<NewArtist>>(
  table: EncryptedTable<typeof EncryptedArtist>,
  id: string,
  values: V,
): Promise<V> {
  if (values.phone === undefined) return values
  const { phone } = await table.encryptRecord({ id, phone: values.phone })
  return { ...values, phone: phone as string }
}

/** Leaves out a number that cannot be decrypted: one bad row must not fail a page for everybody. */
async function decryptRow(
  table: EncryptedTable<typeof EncryptedArtist>,
  row: RowOf<NewArtist>,
  onUnreadable: (error: Error, row: RowOf<NewArtist>) => void,
): Promise<RowOf<NewArtist>> {
  const { phone, ...rest } = row
  // The database returns null for an artist without a number; the response leaves it out.
  if ((phone as string | null) === null) return rest as RowOf<NewArtist>
  try {
    return { ...row, phone: await table.decryptValue(row, 'phone') }
  } catch (error) {
    if (!(error instanceof PARAPET_FIELD_ENCRYPTION_OPEN_FAILED)) throw error
    onUnreadable(error, row)
    return rest as RowOf<NewArtist>
  }
}
