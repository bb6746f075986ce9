/** The arguments of the command. */
import { parseArgs } from 'node:util'

/** How a report is written. */
export type Format = 'table' | 'json' | 'sarif' | 'junit'

/** The arguments, read. */
export interface Arguments {
  readonly help: boolean
  readonly checklist: boolean
  readonly target: string
  readonly format: Format
  readonly output: string | undefined
  readonly updateBaseline: boolean
  readonly all: boolean
  readonly logs: boolean
  readonly paths: readonly string[]
  readonly rolesFile: string | undefined
  /** Passed to the check as they are. */
  readonly options: Readonly<Record<string, unknown>>
}

/** The arguments are wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const USAGE = `posture: runs the pre-production security checklist on a Fastify app

  posture <app.js | https://address> [options]

  app.js: exports a plugin (as for fastify-cli), an app or a factory, or calls listen()

  --format table|json|sarif|junit   how the report is written (default: table)
  --output FILE         writes the report to a file, and the table to the standard output
  --all                 the table shows lines that pass, too
  --baseline FILE       known findings do not fail; confirmed manual lines pass
  --update-baseline     writes all findings of this check to the baseline
  --public PATTERN      a route that needs no login: "GET /news", "/docs/*" (may be repeated)
  --skip PATTERN        a route that no request is sent to (may be repeated)
  --roles FILE          JSON: { "viewer": { "authorization": "Bearer ..." } }
  --header "NAME: VALUE"  sent with every request (may be repeated)
  --host NAME           the Host header (default: localhost)
  --path PATH           of a running app: a path to read (may be repeated)
  --project DIR         the folder of the sources (default: the package of app.js)
  --audit               asks the package manager for known vulnerabilities
  --active              sends state-changing requests: only to a copy whose data may be lost
  --deadline-ms N       for one request (default: 2000)
  --budget-ms N         for all requests (default: 120000)
  --logs                shows what the app writes to the standard output
  --checklist           prints the checklist as Markdown

  Without --active it sends GET, HEAD, OPTIONS and TRACE only.
  Exit status: 0 no new failure, 1 new failures, 2 the check could not run.
`

const TEXT = { type: 'string' } as const
const TEXTS = { type: 'string', multiple: true } as const
const FLAG = { type: 'boolean' } as const
export const OPTIONS = {
  help: { ...FLAG, short: 'h' },
  checklist: FLAG,
  format: TEXT,
  output: TEXT,
  all: FLAG,
  logs: FLAG,
  baseline: TEXT,
  'update-baseline': FLAG,
  public: TEXTS,
  skip: TEXTS,
  roles: TEXT,
  header: TEXTS,
  host: TEXT,
  path: TEXTS,
  project: TEXT,
  audit: FLAG,
  active: FLAG,
  'deadline-ms': TEXT,
  'budget-ms': TEXT,
} as const

/** Reads the arguments. @throws UsageError */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse(args)
  const [target = ''] = positionals
  const { format = 'table', 'update-baseline': updateBaseline = false, baseline } = values
  const isInformation = values.help === true || values.checklist === true
  if (!isInformation && (target === '' || positionals.length > 1)) {
    throw new UsageError('give one file or one address')
  }
  if (!['table', 'json', 'sarif', 'junit'].includes(format)) {
    throw new UsageError(`--format must be table, json, sarif or junit, got "${format}"`)
  }
  if (updateBaseline && baseline === undefined)
    throw new UsageError('--update-baseline needs --baseline')
  return {
    help: values.help === true,
    checklist: values.checklist === true,
    target,
    format: format as Format,
    output: values.output,
    updateBaseline,
    all: values.all === true,
    logs: values.logs === true,
    paths: values.path ?? [],
    rolesFile: values.roles,
    options: withoutUndefined({
      baseline,
      public: values.public,
      skip: values.skip,
      host: values.host,
      project: values.project,
      audit: values.audit,
      active: values.active,
      headers: readHeaders(values.header),
      deadlineMs: readNumber('--deadline-ms', values['deadline-ms']),
      budgetMs: readNumber('--budget-ms', values['budget-ms']),
    }),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function readHeaders(
  given: readonly string[] | undefined,
): Readonly<Record<string, string>> | undefined {
  if (given === undefined) return undefined
  return Object.fromEntries(
    given.map((each) => {
      const at = each.indexOf(':')
      if (at < 1) throw new UsageError('--header must be "NAME: VALUE"')
      return [each.slice(0, at).trim().toLowerCase(), each.slice(at + 1).trim()] as const
    }),
  )
}

function readNumber(name: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (!/^\d{1,9}$/.test(given))
    throw new UsageError(`${name} must be a number of milliseconds, got "${given}"`)
  return Number(given)
}

function withoutUndefined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}
