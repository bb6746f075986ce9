/** The option `reports`. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'
import type { ReportLimits } from './limits.ts'

/** The route that collects violation reports. */
export interface ReportsOptions {
  /** The path of the route, below the prefix of the app. @default '/_reports' */
  readonly path?: string
  /** An identical report is emitted once in this time. @default 600 000, ten minutes */
  readonly windowMs?: number
  /** Accepted reports per minute from all clients together. @default 600 */
  readonly maxPerMinute?: number
  /** Accepted reports per minute from one client. @default 60 */
  readonly maxPerClientPerMinute?: number
  /** @default 65 536 */
  readonly maxBodyBytes?: number
}

/** The option `reports` with every default filled in. */
export interface ReportsSettings extends ReportLimits {
  readonly path: string
  readonly maxBodyBytes: number
}

/** Reads the option `reports`. */
export const reportsReader: OptionReader<ReportsSettings> = optionGroup({
  path: option.text({
    pattern: /^(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+)+$/,
    form: 'a path such as "/_reports", of letters, digits and ._-',
    default: '/_reports',
  }),
  windowMs: option.milliseconds({ default: 600_000 }),
  maxPerMinute: option.integer({ min: 1, max: 100_000, default: 600 }),
  maxPerClientPerMinute: option.integer({ min: 1, max: 100_000, default: 60 }),
  maxBodyBytes: option.bytes({ max: 1_048_576, default: 65_536 }),
})
