/** The options, their defaults and their reader. */
import {
  option,
  readOptions,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
} from '@parapet/kit'
import { PARAPET_TEMPLATE_INVALID_OPTION } from './errors.ts'

/** What `app.register` takes. */
export interface TemplateOptions {
  /** Roles that pass a closed route. @default none: it is closed to everybody */
  readonly allowedRoles?: readonly string[]
  /** Who is asking, in an app whose login does not set `request.principal`. @default nobody else */
  readonly principal?: PrincipalMapping
  /** What a refused client reads in `Retry-After`: seconds, from 1 to 86 400. @default 120 */
  readonly retryAfterSeconds?: number
}

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  allowedRoles: option.list(option.text(), { default: [] }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  retryAfterSeconds: option.seconds({ max: 86_400, default: 120 }),
} satisfies Record<keyof TemplateOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type TemplateSettings = OptionSettings<typeof optionTable>

/** Reads the options, once, at boot. @throws PARAPET_TEMPLATE_INVALID_OPTION */
export function resolveOptions(options: unknown): TemplateSettings {
  return readOptions('@parapet/template', options, optionTable, PARAPET_TEMPLATE_INVALID_OPTION)
}
