/**
 * Finds fields that a schema does not know. The validators of `kubernetes-models` ignore them, but they ask
 * for every field that they know: a field that is there and is never asked for is misspelt.
 */
import { isObject } from '../finding.ts'

interface Seen {
  readonly target: object
  readonly asked: Set<string>
  /** A map with names of the user, such as labels: its validator lists the keys. */
  isMap: boolean
}

/** Wraps a value, so that what is asked for is noted. */
export function watchFields<T>(body: T): {
  readonly watched: T
  readonly findUnknown: () => string[]
} {
  const seen = new Map<string, Seen>()
  return {
    watched: watch(body, '', seen) as T,
    findUnknown: () =>
      [...seen].flatMap(([path, { target, asked, isMap }]) =>
        // Nothing was asked for where any value is allowed.
        isMap || asked.size === 0
          ? []
          : Object.keys(target)
              .filter((key) => !asked.has(key))
              .map((key) => `${path}/${key}`),
      ),
  }
}

function watch(value: unknown, path: string, seen: Map<string, Seen>): unknown {
  if (Array.isArray(value)) return value.map((each, index) => watch(each, `${path}/${index}`, seen))
  if (!isObject(value)) return value
  const node: Seen = { target: value, asked: new Set(), isMap: false }
  seen.set(path, node)
  const members = Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, watch(each, `${path}/${key}`, seen)]),
  )
  return new Proxy(members, {
    get: (target, key) => {
      if (typeof key === 'string') node.asked.add(key)
      return Reflect.get(target, key) as unknown
    },
    ownKeys: (target) => {
      node.isMap = true
      return Reflect.ownKeys(target)
    },
  })
}
