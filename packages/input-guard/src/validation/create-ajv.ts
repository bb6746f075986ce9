/** Ajv as this package uses it: no coercion, no removal, all faults. */
import { Ajv, type Options } from 'ajv'
import addFormats from 'ajv-formats'
import type { CheckTools } from '../types/check.ts'
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
  addGuardKeywords(ajv, tools, run)
  if (isBody) refuseReadOnly(ajv)
  configure?.(ajv)
  for (const [id, schema] of Object.entries(externals)) ajv.addSchema(schema, id)
  return ajv
}
