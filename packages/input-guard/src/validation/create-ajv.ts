/** Ajv as this package uses it: no coercion, no removal, all faults. */
import { Ajv, type Options } from 'ajv'
import addFormats from 'ajv-formats'
import type { CheckTools } from '../types/check.ts'
import { isDateTime } from '../types/dates.ts'
import { addGuardKeywords, refuseReadOnly } from './keywords.ts'
import type { ValidationRun } from './run.ts'

const OPTIONS: Options = {
  allErrors: true,
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: true,
  discriminator: true,
  // These two would only log.
  strictTypes: false,
  strictTuples: false,
  addUsedSchema: false,
}
/** What ajv-formats accepts and PostgreSQL does not: `urn:uuid:`. */
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const isTime = (text: string) => isDateTime(`2000-01-01T${text}`)
/** What it accepts and `Date` does not: `23:60:00+00:01`, `23:59:60Z`. */
const TIMES: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': isDateTime,
  time: isTime,
  'iso-date-time': (text) => isDateTime(text) || isDateTime(`${text}Z`),
  'iso-time': (text) => isTime(text) || isTime(`${text}Z`),
}

/** What {@link createAjv} takes. */
export interface AjvSettings {
  readonly tools: CheckTools
  readonly run: ValidationRun
  /** Schemas that others refer to, by `$id`. */
  readonly externals: Readonly<Record<string, object>>
  /** Adds keywords and formats of the application. */
  readonly configure: ((ajv: Ajv) => void) | undefined
}

/** Creates an instance. @param isBody refuses members with `readOnly` */
export function createAjv({ tools, run, externals, configure }: AjvSettings, isBody: boolean): Ajv {
  const ajv = new Ajv(OPTIONS)
  addFormats.default(ajv)
  ajv.addFormat('uuid', UUID)
  for (const [name, test] of Object.entries(TIMES)) ajv.addFormat(name, test)
  addGuardKeywords(ajv, tools, run)
  if (isBody) refuseReadOnly(ajv)
  configure?.(ajv)
  for (const [id, schema] of Object.entries(externals)) ajv.addSchema(schema, id)
  return ajv
}
