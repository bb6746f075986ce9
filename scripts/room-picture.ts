/** Draws the rooms of a package as a Mermaid flowchart, and puts the pictures into a page. */
import type { Graph } from './graph.ts'
import { graphOf, innerImports, readSources, roomOf } from './rooms.ts'

/** Imported from everywhere, so an arrow to them would say nothing. */
const LEFT_OUT = new Set(['errors.ts', 'events.ts'])

/**
 * Draws one package: an arrow is an import, of types too. An arrow is left out where a longer way
 * leads to the same room.
 *
 * @param texts path below `src` → text.
 */
export function drawRooms(texts: ReadonlyMap<string, string>): string {
  const whole = graphOf(texts.keys(), innerImports(readSources(texts)), roomOf)
  const rooms = [...whole.keys()].filter((room) => !LEFT_OUT.has(room)).toSorted()
  const graph = new Map(
    rooms.map((room) => [room, new Set(rooms.filter((other) => whole.get(room)?.has(other)))]),
  )
  const idOf = (room: string): string => `r${rooms.indexOf(room)}`
  const arrows = rooms.flatMap((room) =>
    [...graph.get(room)!]
      .filter((target) => !hasLongerWay(graph, room, target))
      .map((target) => `  ${idOf(room)} --> ${idOf(target)}`),
  )
  return [
    '```mermaid',
    'flowchart TD',
    ...rooms.map((room) => `  ${idOf(room)}["${room}"]`),
    ...arrows,
    '```',
  ].join('\n')
}

/**
 * Replaces each picture in a page: what is between `<!-- rooms of <package> -->` and `<!-- end -->`.
 *
 * @param draw returns the picture of a package. @throws Error a mark has no end.
 */
export function replacePictures(page: string, draw: (name: string) => string): string {
  const start = /<!-- rooms of ([\w-]+) -->\n/g
  let result = ''
  let rest = 0
  for (const match of page.matchAll(start)) {
    const from = match.index + match[0].length
    const end = page.indexOf('<!-- end -->', from)
    if (end === -1) throw new Error(`"${match[0].trim()}" needs an "<!-- end -->" after it`)
    result += `${page.slice(rest, from)}\n${draw(match[1]!)}\n\n`
    rest = end
  }
  return result + page.slice(rest)
}

function hasLongerWay(graph: Graph, from: string, to: string): boolean {
  const open = [...(graph.get(from) ?? [])].filter((next) => next !== to)
  const seen = new Set([from, ...open])
  for (let room = open.pop(); room !== undefined; room = open.pop()) {
    for (const next of graph.get(room) ?? []) {
      if (next === to) return true
      if (!seen.has(next)) open.push(next)
      seen.add(next)
    }
  }
  return false
}
