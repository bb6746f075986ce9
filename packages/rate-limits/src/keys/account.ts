/** The name of an account, as a login will see it. */

/** Of an account name more is not read. */
const MAX_ACCOUNT = 512

/**
 * A name as the validation of a body would coerce it: a number becomes text, and a list of one its value.
 * Otherwise each form would have attempts of its own.
 */
export function accountNameOf(value: unknown): string | undefined {
  if (Array.isArray(value)) return value.length === 1 ? accountNameOf(value[0]) : undefined
  const isPlain =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
  const name = isPlain || typeof value === 'boolean' ? String(value) : ''
  return name === '' ? undefined : name
}

/** Spellings of one account must not multiply its attempts. Padding is cut before the length is. */
export function normaliseAccount(name: string): string {
  return name.trim().slice(0, MAX_ACCOUNT).normalize('NFKC').toLowerCase().trim()
}

/** More names are no login; it is counted as one without an account. */
const MAX_ACCOUNTS = 3

/** The different accounts that a request names: the app may read any of them, so each is counted. */
export function accountsOf(given: unknown): readonly string[] {
  const names = (Array.isArray(given) ? given : [given]).flatMap(
    (each) => accountNameOf(each) ?? [],
  )
  const different = [...new Set(names.map(normaliseAccount))]
  return different.length > MAX_ACCOUNTS ? [] : different
}
