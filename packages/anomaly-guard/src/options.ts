/** The options of the plugin, their defaults, and the table that reads them. */
import {
  option,
  readOptions,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
} from '@parapet/kit'
import { PARAPET_ANOMALY_GUARD_INVALID_OPTION } from './errors.ts'

/** What `app.register` takes. */
export interface AnomalyGuardOptions {
  /** Roles that may use a closed route. @default none: closed routes refuse every request */
  readonly allowedRoles?: readonly string[]
  /** Returns the principal of a request, for a login that does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** The value of `Retry-After` in a refusal: seconds, from 1 to 86 400. @default 120 */
  readonly retryAfterSeconds?: number
}

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  allowedRoles: option.list(option.text(), { default: [] }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  retryAfterSeconds: option.seconds({ max: 86_400, default: 120 }),
} satisfies Record<keyof AnomalyGuardOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type AnomalyGuardSettings = OptionSettings<typeof optionTable>

/** Reads the options once, at boot. @throws PARAPET_ANOMALY_GUARD_INVALID_OPTION */
export function resolveOptions(options: unknown): AnomalyGuardSettings {
  return readOptions(
    '@parapet/anomaly-guard',
    options,
    optionTable,
    PARAPET_ANOMALY_GUARD_INVALID_OPTION,
  )
}
