/** The options of a check, their defaults, and the table that reads them. */
import {
  option,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
} from '@parapet/kit'
import { PARAPET_POSTURE_INVALID_OPTION } from './errors.ts'

/** A step of a check, for a display of progress. */
export interface Progress {
  readonly step: 'routes' | 'source' | 'lines'
  readonly done: number
  readonly all: number
  /** The route, the folder or the line. */
  readonly name: string
}

/** What `checkPosture` takes. */
export interface PostureOptions {
  /** Sends state-changing requests, too: only to an app whose data may be lost. @default false */
  readonly active?: boolean
  /** Asks the package manager for known vulnerabilities; it sends names of packages. @default false */
  readonly audit?: boolean
  /** A file of known findings and confirmed lines. @default none */
  readonly baseline?: string
  /** The time for all requests together, in milliseconds, 1 000 to 3 600 000. @default 120000 */
  readonly budgetMs?: number
  /** @default the system clock */
  readonly clock?: Clock
  /** The time for one request, in milliseconds, 10 to 60 000. @default 2000 */
  readonly deadlineMs?: number
  /** Environment variables whose secrets are examined; values are never shown. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Headers of every request: what a proxy would add. @default none */
  readonly headers?: Readonly<Record<string, string>>
  /** The Host header. @default 'localhost' */
  readonly host?: string
  /** Called at each step. @default none */
  readonly onProgress?: (progress: Progress) => void
  /** The folder of the project, whose sources and files are read. @default handlers of routes only */
  readonly project?: string
  /** Routes that need no login: `GET /news`, `/docs/*`. @default well-known ones such as /health */
  readonly public?: readonly string[]
  /** The headers of a principal of each role: measures which role reaches which route. @default none */
  readonly roles?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Routes that no request is sent to: `GET /stream`. @default none */
  readonly skip?: readonly string[]
}

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  active: option.boolean({ default: false }),
  audit: option.boolean({ default: false }),
  baseline: option.optional(option.text({ max: 4096 })),
  budgetMs: option.milliseconds({ min: 1_000, max: 3_600_000, default: 120_000 }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  deadlineMs: option.milliseconds({ min: 10, max: 60_000, default: 2_000 }),
  environment: option.optional(
    option.map(option.optional(option.text({ min: 0, max: 1_000_000 }))),
  ),
  headers: option.map(option.text({ min: 0, max: 8192 }), { default: {} }),
  host: option.text({ default: 'localhost' }),
  onProgress: option.callback<(progress: Progress) => void>({ default: () => {} }),
  project: option.optional(option.text({ max: 4096 })),
  public: option.list(option.text({ max: 512 }), { default: [] }),
  roles: option.map(option.map(option.text({ min: 0, max: 8192 })), { default: {} }),
  skip: option.list(option.text({ max: 512 }), { default: [] }),
} satisfies Record<keyof PostureOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type PostureSettings = OptionSettings<typeof optionTable>

/** Reads the options. @throws PARAPET_POSTURE_INVALID_OPTION */
export function resolveOptions(options: unknown): PostureSettings {
  return readOptions('@parapet/posture', options, optionTable, PARAPET_POSTURE_INVALID_OPTION)
}
