/** What may be said of an error. */

/** The message of an error of this package; of others only the code or the name, as their message may quote a value. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as NodeJS.ErrnoException
  if (code?.startsWith('PARAPET_') === true) return error.message
  return code ?? error.name
}
