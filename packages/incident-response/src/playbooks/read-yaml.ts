/** Reads the YAML of a playbook: small, flat in aliases, strict, and with the place of every member. */
import type * as YamlLibrary from 'yaml'
import type { LineCounter } from 'yaml'
import { refuseDocument, showPath, type DocumentPath, type Locate } from './playbook-faults.ts'

/** A document, and where its members are. */
export interface YamlDocument {
  readonly value: unknown
  readonly locate: Locate
}

/** A playbook of more is no playbook. */
const MAX_PLAYBOOK_BYTES = 262_144
/** Deeper nesting is refused before the parser recurses into it. */
const MAX_DEPTH = 40

type Yaml = typeof YamlLibrary
type Parsed = YamlLibrary.Document.Parsed

/**
 * Reads YAML 1.2. Aliases, tags, duplicate names and more than one document are refused.
 *
 * @param file for messages.
 * @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK
 */
export async function readYaml(source: string, file: string): Promise<YamlDocument> {
  if (Buffer.byteLength(source) > MAX_PLAYBOOK_BYTES) {
    refuseDocument(file, `is larger than ${MAX_PLAYBOOK_BYTES} bytes`)
  }
  if (nestingOf(source) > MAX_DEPTH) refuseDocument(file, `is nested more than ${MAX_DEPTH} levels`)
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  const document = parse(yaml, source, file, lines)
  const place = (offset: number) => placeOf(file, lines, offset)
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) refuseDocument(place(problem.pos[0]), firstLine(problem.message))
  yaml.visit(document, {
    Alias: (_key, node) =>
      refuseDocument(place(node.range![0]), 'aliases are not allowed; write the steps out'),
    Node(_key, node, parents) {
      if (yaml.isMap(node)) requireUnique(yaml, node, place)
      if (node.tag !== undefined && !CORE_TAG.test(node.tag)) {
        refuseDocument(place(node.range?.[0] ?? 0), `the tag ${node.tag} is not allowed`)
      }
      if (parents.length > 2 * MAX_DEPTH) {
        refuseDocument(place(node.range?.[0] ?? 0), `is nested more than ${MAX_DEPTH} levels`)
      }
    },
    Pair(_key, { key }) {
      if (yaml.isScalar(key) && typeof key.value === 'string') return
      const offset = yaml.isNode(key) ? (key.range?.[0] ?? 0) : 0
      refuseDocument(place(offset), 'names of members must be texts')
    },
  })
  return { value: document.toJS({ maxAliasCount: 0 }), locate: locator(yaml, document, place) }
}

const CORE_TAG = /^tag:yaml\.org,2002:(?:map|seq|str|int|float|bool|null)$/

function parse(yaml: Yaml, source: string, file: string, lineCounter: LineCounter): Parsed {
  // The parser compares each name with each other one: many names would stop the service for a minute.
  const options = { lineCounter, prettyErrors: false, strict: true, uniqueKeys: false } as const
  try {
    return yaml.parseDocument(source, { ...options, version: '1.2', schema: 'core' })
  } catch (error) {
    // The parser has run out of stack.
    return refuseDocument(file, `cannot be read: ${firstLine((error as Error).message)}`)
  }
}

/** Refuses a name that a map has twice. */
function requireUnique(
  yaml: Yaml,
  { items }: YamlLibrary.YAMLMap,
  place: (offset: number) => string,
): void {
  const known = new Set<unknown>()
  for (const { key } of items) {
    if (!yaml.isScalar(key)) continue
    if (known.has(key.value)) refuseDocument(place(key.range?.[0] ?? 0), 'Map keys must be unique')
    known.add(key.value)
  }
}

/** Brackets and the deepest indentation: an upper bound that needs no parser. */
function nestingOf(source: string): number {
  let deepest = 0
  let open = 0
  for (const character of source) {
    if (character === '[' || character === '{') deepest = Math.max(deepest, ++open)
    else if (character === ']' || character === '}') open = Math.max(0, open - 1)
    else if (character === '\n') open = 0
  }
  // Brackets that go on over lines are counted by the whole text.
  const total = (source.match(/[[{]/g) ?? []).length - (source.match(/[\]}]/g) ?? []).length
  return Math.max(deepest, total, dashesOf(source))
}

/** `- - - x` and `? ? ? x` nest without indentation. */
function dashesOf(source: string): number {
  const runs = source.match(/(?:[-?:] +){2,}/g) ?? []
  return Math.max(0, ...runs.map((run) => run.split(/ +/).length))
}

function locator(yaml: Yaml, document: Parsed, place: (offset: number) => string): Locate {
  return (path: DocumentPath, isKey = false) => {
    const name = showPath(path)
    const suffix = name === '' ? '' : ` (${name})`
    // The nearest member that exists: what is missing has no place.
    for (let length = path.length; length > 0; length--) {
      const offset = offsetOf(
        yaml,
        document,
        path.slice(0, length),
        isKey && length === path.length,
      )
      if (offset !== undefined) return `${place(offset)}${suffix}`
    }
    return `${place(document.contents?.range[0] ?? 0)}${suffix}`
  }
}

function offsetOf(
  yaml: Yaml,
  document: Parsed,
  path: DocumentPath,
  isKey: boolean,
): number | undefined {
  if (isKey) {
    const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
    const pair = yaml.isMap(parent)
      ? parent.items.find(({ key }) => yaml.isScalar(key) && key.value === path.at(-1))
      : undefined
    return yaml.isNode(pair?.key) ? pair.key.range?.[0] : undefined
  }
  const node = document.getIn(path, true)
  return yaml.isNode(node) ? node.range?.[0] : undefined
}

function placeOf(file: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset)
  return `${file}:${line}:${col}`
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.slice(0, 200)
}
