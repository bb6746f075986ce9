/** Where the API is. Health checks, well-known files and pages have paths of their own. */

/** The prefix of every route of the API, also of those that plugins register. */
export const API = '/api/v1'

/** A table by route, `POST /users`, with the {@link API}'s prefix in every path: `POST /api/v1/users`. */
export function inApi<T>(table: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(table).map(([route, value]) => [route.replace(' ', ` ${API}`), value]),
  )
}
