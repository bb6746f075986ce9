/** A table with one encrypted member, which is bound to its row. */
import type { FieldEncryption } from '@parapet/field-encryption'
import { uuidV7 } from '@parapet/kit'
import type { RowOf, Table } from './table.ts'

/** How the member is encrypted. */
interface Encryption {
  /** Has the `id` of the row and the member. */
  readonly encrypted: Pick<ReturnType<FieldEncryption['table']>, 'encryptRecord' | 'decryptMany'>
  /** Called with the id of a row whose value cannot be decrypted and is left out. */
  readonly onUnreadable: (id: string) => void
}

/** Encrypts one member of what is written to a table, and decrypts it in what is read. */
export function encryptMember<Values extends object>(
  rows: Table<Values>,
  member: keyof Values & string,
  { encrypted, onUnreadable }: Encryption,
): Table<Values> {
  async function encrypt<V extends Partial<Values>>(id: string, values: V): Promise<V> {
    const value = (values as Partial<Values>)[member]
    if (value === undefined) return values
    const sealed: Record<string, unknown> = await encrypted.encryptRecord({ id, [member]: value })
    return { ...values, [member]: sealed[member] }
  }

  /** Leaves out a value that cannot be decrypted: one bad row must not fail a page for everybody. */
  async function decrypt(stored: readonly RowOf<Values>[]): Promise<RowOf<Values>[]> {
    const given = stored.map((row) => withoutNull(row, member))
    const opened = await encrypted.decryptMany(given, { unreadable: 'withhold' })
    for (const [index, row] of given.entries()) {
      if (member in row && !(member in opened[index]!)) onUnreadable(stored[index]!.id)
    }
    return opened as RowOf<Values>[]
  }

  const decryptOne = async (row: RowOf<Values>) => (await decrypt([row]))[0]!
  return {
    async insert(values, id = uuidV7(), unread = {}) {
      return decryptOne(await rows.insert(await encrypt(id, values), id, unread))
    },
    find: async (id) => decryptOne(await rows.find(id)),
    lock: async (id) => decryptOne(await rows.lock(id)),
    async list(page, where) {
      const { items, ...rest } = await rows.list(page, where)
      return { ...rest, items: await decrypt(items) }
    },
    async update(id, changes, versions) {
      return decryptOne(await rows.update(id, await encrypt(id, changes), versions))
    },
    remove: (id, versions) => rows.remove(id, versions),
  }
}

/** The database returns null for a row without a value; the response leaves it out. */
function withoutNull(row: object, member: string): object {
  const { [member]: value, ...rest } = row as Record<string, unknown>
  return value === null ? rest : row
}
