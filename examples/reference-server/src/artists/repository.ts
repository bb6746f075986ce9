/** Where artists are kept: their telephone numbers encrypted, each for its own row. */
import {
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  type FieldEncryption,
  type Table as SealedTable,
} from '@parapet/field-encryption'
import { uuidV7, type SqlClient } from '@parapet/kit'
import { createTable, type RowOf, type Table } from '../table.ts'
import { SealedArtist, type NewArtist } from './schemas.ts'

/** What the repository stands on. */
export interface ArtistPorts {
  readonly sql: SqlClient
  readonly fieldEncryption: FieldEncryption
  /** Whether numbers outlive the process; where not, those of another process are left out. */
  readonly keepsFields: boolean
}

/** Makes the repository of artists. */
export function createArtists({
  sql,
  fieldEncryption,
  keepsFields,
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
  const sealed = fieldEncryption.table('artists', SealedArtist)
  const open = (row: RowOf<NewArtist>) => openRow(sealed, row, keepsFields)
  return {
    async insert(values, id = uuidV7()) {
      return open(await rows.insert(await seal(sealed, id, values), id))
    },
    find: async (id) => open(await rows.find(id)),
    async list(page) {
      const { items, ...rest } = await rows.list(page)
      return { ...rest, items: await Promise.all(items.map(open)) }
    },
    async update(id, changes, versions) {
      return open(await rows.update(id, await seal(sealed, id, changes), versions))
    },
    remove: (id, versions) => rows.remove(id, versions),
  }
}

async function seal<V extends Partial<NewArtist>>(
  table: SealedTable<typeof SealedArtist>,
  id: string,
  values: V,
): Promise<V> {
  if (values.phone === undefined) return values
  const { phone } = await table.encryptRecord({ id, phone: values.phone })
  return { ...values, phone: phone as string }
}

async function openRow(
  table: SealedTable<typeof SealedArtist>,
  row: RowOf<NewArtist>,
  keepsFields: boolean,
): Promise<RowOf<NewArtist>> {
  const { phone, ...rest } = row
  // The column is empty where there is none.
  if ((phone as string | null) === null) return rest as RowOf<NewArtist>
  try {
    return { ...row, phone: await table.decryptValue(row, 'phone') }
  } catch (error) {
    if (keepsFields || !(error instanceof PARAPET_FIELD_ENCRYPTION_OPEN_FAILED)) throw error
    return rest as RowOf<NewArtist>
  }
}
