/** Splits SQL into statements, to find those that a port or the migration runner must not send. */

/** Comments, strings, quoted names and dollar-quoted bodies: what is in them is no statement. */
const QUOTED =
  /--[^\n]*|\/\*|(?<![\w$])e'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])(\$(?:[a-z_]\w*)?\$)[\s\S]*?\1/gi

/** The body of a function in standard SQL; its END is no COMMIT. */
const ATOMIC_BODY = /\bbegin\s+atomic\b[\s\S]*?\bend\b(?=\s*(?:;|$))/gi

/** Begins or ends a transaction. */
const CONTROL =
  /^(?:begin|start\s+transaction|commit|end|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b)|abort|prepare\s+transaction)\b/i
/** Changes a setting of the connection, which serves other callers afterwards. */
const SESSION_SETTING = /^(?:set(?!\s+(?:local|transaction|constraints)\b)|reset|discard)\b/i

/** Most statements begin with another word, so that one test of the whole text is enough. */
const SUSPECT = /\b(?:begin|start|commit|end|rollback|abort|prepare|set|reset|discard)\b/i

/** The first statement that begins or ends a transaction. */
export function findControl(sql: string): string | undefined {
  return find(sql, CONTROL)
}

/** Texts without such a statement: an app sends the same few texts with other values. */
const harmless = new Set<string>()
const MAX_HARMLESS = 1000
const MAX_HARMLESS_LENGTH = 10_000

/** The first statement whose effect would outlive the transaction on its connection. */
export function findLasting(sql: string): string | undefined {
  if (harmless.has(sql)) return undefined
  const found = find(sql, CONTROL) ?? find(sql, SESSION_SETTING)
  if (found === undefined && sql.length <= MAX_HARMLESS_LENGTH) {
    if (harmless.size >= MAX_HARMLESS) harmless.clear()
    harmless.add(sql)
  }
  return found
}

function find(sql: string, pattern: RegExp): string | undefined {
  if (!SUSPECT.test(sql)) return undefined
  return statementsOf(sql).find((statement) => pattern.test(statement))
}

/** The statements, with a blank in place of everything quoted. */
function statementsOf(sql: string): string[] {
  let bare = ''
  let at = 0
  QUOTED.lastIndex = 0
  for (let found = QUOTED.exec(sql); found !== null; found = QUOTED.exec(sql)) {
    bare += `${sql.slice(at, found.index)} `
    at = found[0] === '/*' ? endOfComment(sql, found.index) : QUOTED.lastIndex
    QUOTED.lastIndex = at
  }
  bare += sql.slice(at)
  return bare
    .replaceAll(ATOMIC_BODY, ' ')
    .split(';')
    .map((statement) => statement.trim())
}

/** Comments nest. @see PostgreSQL, section 4.1.5 */
function endOfComment(sql: string, start: number): number {
  const MARK = /\/\*|\*\//g
  MARK.lastIndex = start
  let depth = 0
  for (let mark = MARK.exec(sql); mark !== null; mark = MARK.exec(sql)) {
    depth += mark[0] === '/*' ? 1 : -1
    if (depth === 0) return MARK.lastIndex
  }
  return sql.length
}
