/** The text of a row's id, to which its values are bound. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** A row's id, and the other spellings under which earlier versions may have sealed the row. */
interface RowId {
  readonly rowId: string
  readonly formerRowIds: () => readonly string[]
}

const none = (): readonly string[] => []
const LOWER_CASE_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Spells a UUID as a database returns it, in lower case, whatever the client has sent. Earlier versions
 * bound a row to the id as given, often in upper case.
 *
 * @param ids the members that a row is bound to.
 * @see RFC 9562, section 4
 */
export function spellRowId(ids: readonly string[]): RowId {
  const [first] = ids
  // What a database returns, for every row of a list.
  if (ids.length === 1 && LOWER_CASE_UUID.test(first!)) {
    return { rowId: first!, formerRowIds: () => otherSpellings(first!, [first!.toUpperCase()]) }
  }
  if (!ids.some((id) => UUID.test(id))) return { rowId: textOf(ids), formerRowIds: none }
  const spell = (change: (id: string) => string) =>
    textOf(ids.map((id) => (UUID.test(id) ? change(id) : id)))
  const rowId = spell((id) => id.toLowerCase())
  return {
    rowId,
    formerRowIds: () => otherSpellings(rowId, [textOf(ids), spell((id) => id.toUpperCase())]),
  }
}

function otherSpellings(rowId: string, spellings: readonly string[]): readonly string[] {
  return [...new Set(spellings)].filter((id) => id !== rowId)
}

/** JSON quotes the parts of a composite id, so that no two ids have the same text. */
function textOf(ids: readonly string[]): string {
  return ids.length === 1 ? ids[0]! : JSON.stringify(ids)
}
