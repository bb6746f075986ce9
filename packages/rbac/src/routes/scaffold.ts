/** Prints a table of rules for routes that have none, as a start for the option `routes`. */

/** The actions that the permissions of a method usually have. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  GET: ['read', 'get', 'list', 'view'],
  HEAD: ['read', 'get', 'list', 'view'],
  POST: ['create', 'add', 'write'],
  PUT: ['write', 'update', 'edit'],
  PATCH: ['update', 'edit', 'write'],
  DELETE: ['delete', 'remove', 'write'],
}

/**
 * Prints the table. A permission of the policy is proposed if its name fits the route; other routes
 * stay comments, so that the table opens nothing by itself.
 *
 * @param names routes as `GET /content/:id`.
 */
export function printScaffold(names: readonly string[], permissions: readonly string[]): string {
  const lines = names.toSorted(byPath).map((name) => {
    const permission = proposalFor(name, permissions)
    const key = quote(name)
    return permission === undefined
      ? `  // ${key}: TODO a permission, { authenticated: 'why' } or { public: 'why' },`
      : `  ${key}: ${quote(permission)},`
  })
  return ['routes: {', ...lines, '}'].join('\n')
}

/** `PUT /contents/:id` → `content:write`, if the policy declares it. */
function proposalFor(name: string, permissions: readonly string[]): string | undefined {
  const [method, url] = name.split(' ') as [string, string]
  const segments = url.split('/').filter((each) => /^[\w-]+$/.test(each))
  const actions = ACTIONS[method] ?? []
  for (const segment of segments.toReversed()) {
    for (const action of actions) {
      const types = [segment, segment.replace(/s$/, ''), `${segment}s`]
      const found = types
        .map((type) => `${type}:${action}`)
        .find((each) => permissions.includes(each))
      if (found !== undefined) return found
    }
  }
  return undefined
}

function byPath(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.slice(name.indexOf(' ')))
  return left! < right! ? -1 : left! > right! ? 1 : a < b ? -1 : 1
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
