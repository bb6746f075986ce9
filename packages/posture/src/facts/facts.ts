/** Everything that was learned about an app, before any line is judged. */
import type { Exchange, ProbeKind, Reply } from './reply.ts'
import type { RouteFacts } from './route.ts'

/** What the sources contain: places by the rule that found them. */
export interface SourceHit {
  /** The rule: `sql`, `eval`, `hard-coded-secret`. */
  readonly rule: string
  /** `src/users.js:12`, or the name of a route. */
  readonly place: string
  /** The place without a line number, for fingerprints. */
  readonly file: string
  /** The code, shortened, with secrets removed. */
  readonly excerpt: string
  /** `sure`: the value comes from a request. `review`: a person must look. */
  readonly certainty: 'sure' | 'review'
}

/** What was read from the project's folder. */
export interface ProjectFacts {
  readonly lockfile: string | undefined
  /** Dependencies with an unbounded or unsafe range: `name@range`. */
  readonly looseRanges: readonly string[]
  /** Files with secrets that .gitignore does not exclude. */
  readonly secretFiles: readonly string[]
  /** Documents about incidents, backups and reports of vulnerabilities. */
  readonly documents: readonly string[]
  /** `undefined`: not asked for. */
  readonly audit: AuditResult | undefined
}

/** What `npm audit` said. */
export interface AuditResult {
  /** Why there is no answer. */
  readonly failure?: string
  /** `name: severity` of each vulnerable dependency. */
  readonly vulnerable: readonly string[]
}

/** Settings of the Fastify instance. */
export interface ServerFacts {
  readonly fastifyVersion: string
  readonly nodeVersion: string
  readonly trustProxy: unknown
  readonly bodyLimit: number
  readonly requestTimeout: number
  readonly handlerTimeout: number
  readonly onProtoPoisoning: string
  readonly onConstructorPoisoning: string
  readonly minTlsVersion: string | undefined
  /** `undefined`: the logger is the choice of what starts the plugin. */
  readonly hasLogger: boolean | undefined
  readonly logLevel: string
  readonly contentTypes: readonly string[]
  readonly errorReplies: readonly ErrorReply[]
}

/** What an unexpected error makes an error handler send. */
export interface ErrorReply {
  /** The first route that uses the handler. */
  readonly place: string
  /** `undefined`: the handler needs its app and could not be run alone. */
  readonly reply: Reply | undefined
}

/** The decorators of known plugins, and what they said. */
export interface PluginFacts {
  readonly names: ReadonlySet<string>
  /** Routes × roles, from `app.rbac.matrix()`. */
  readonly matrix: readonly MatrixRow[] | undefined
  /** Input without bounds, from `app.inputGuard.audit()`. */
  readonly unbounded: readonly string[] | undefined
  /** A token that `app.jwt.sign` made. */
  readonly token: string | undefined
  /** The name of the dictionary word that signed {@link token}, masked. */
  readonly guessedKey: string | undefined
}

/** One row of rbac's matrix. */
export interface MatrixRow {
  readonly method: string
  readonly url: string
  readonly rule: string
  readonly anonymous: string
  readonly roles: Readonly<Record<string, string>>
}

/** The site's TLS, from handshakes. */
export interface TlsFacts {
  readonly protocol: string
  /** Old versions that were accepted. */
  readonly oldVersions: readonly string[]
  readonly failure: string | undefined
  readonly daysLeft: number | undefined
  /** The status of plain HTTP; `undefined`: refused. */
  readonly plainHttp: { readonly status: number; readonly location: string } | undefined
}

/** Everything. */
export interface Facts {
  readonly target: 'app' | 'site'
  readonly routes: readonly RouteFacts[]
  readonly exchanges: readonly Exchange[]
  /** Routes that were not reached within the time. */
  readonly unreached: readonly string[]
  readonly server: ServerFacts | undefined
  readonly plugins: PluginFacts
  /** `undefined`: no source was given. */
  readonly source: SourceFacts | undefined
  readonly project: ProjectFacts | undefined
  readonly tls: TlsFacts | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Routes that the user declared public, as patterns. */
  readonly isDeclaredPublic: (route: { readonly method: string; readonly url: string }) => boolean
  readonly isActive: boolean
  readonly roles: readonly string[]
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What the sources contain. */
export interface SourceFacts {
  readonly hits: readonly SourceHit[]
  readonly files: number
  /** Files that could not be parsed, or that were too many. */
  readonly skipped: readonly string[]
}

/** Exchanges of some kinds that have a response. */
export function repliesOf(
  { exchanges }: Facts,
  ...kinds: readonly ProbeKind[]
): (Exchange & { readonly reply: Reply })[] {
  return exchanges.filter(
    (each): each is Exchange & { readonly reply: Reply } =>
      kinds.includes(each.kind) && each.reply !== undefined,
  )
}

/** The anonymous exchange of a route. */
export function plainOf(facts: Facts, route: RouteFacts): Exchange | undefined {
  return facts.exchanges.find(({ kind, route: name }) => kind === 'plain' && name === route.name)
}

/** The hits of some rules. */
export function hitsOf({ source }: Facts, ...rules: readonly string[]): readonly SourceHit[] {
  return source?.hits.filter(({ rule }) => rules.includes(rule)) ?? []
}
