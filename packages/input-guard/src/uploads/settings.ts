/** Reads the rules of an upload. */
import {
  option,
  optionGroup,
  readOptions,
  type OptionReader,
  type OptionSettings,
} from '@parapet/kit'
import { PARAPET_INPUT_GUARD_INVALID_OPTION } from '../errors.ts'
import { canonicalType } from './content-type.ts'
import type { ArchiveRules, UploadRules } from './rules.ts'

const archiveTable = {
  maxEntries: option.integer({ min: 1, max: 65_534, default: 1000 }),
  maxRatio: option.integer({ min: 1, default: 100 }),
  maxUnpackedBytes: option.bytes({ default: 104_857_600 }),
} satisfies Record<keyof ArchiveRules, OptionReader<unknown>>

const uploadTable = {
  types: option.list(
    option.text({ pattern: /^[a-z]+\/[a-z0-9.+-]+$/i, form: 'a type such as "image/png"' }),
    { min: 1 },
  ),
  maxFiles: option.integer({ min: 1, default: 1 }),
  maxFileBytes: option.bytes({ default: 10_485_760 }),
  maxTotalBytes: option.optional(option.bytes()),
  maxFields: option.integer({ default: 20 }),
  archive: optionGroup(archiveTable),
  directory: option.optional(option.text({ max: 4096 })),
  scan: option.optional(option.callback<NonNullable<UploadRules['scan']>>()),
  reencode: option.optional(option.callback<NonNullable<UploadRules['reencode']>>()),
  portTimeoutMs: option.milliseconds({ max: 600_000, default: 30_000 }),
} satisfies Record<keyof UploadRules, OptionReader<unknown>>

/** The rules with every default filled in. */
export type UploadSettings = OptionSettings<typeof uploadTable>

/** Most handlers pass the same object for each request. */
const known = new WeakMap<UploadRules, UploadSettings>()

/** @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function resolveUploadRules(rules: UploadRules): UploadSettings {
  const found = known.get(rules)
  if (found !== undefined) return found
  const read = readOptions(
    '@parapet/input-guard, receiveUpload',
    rules,
    uploadTable,
    PARAPET_INPUT_GUARD_INVALID_OPTION,
  )
  const settings = { ...read, types: read.types.map(canonicalType) }
  known.set(rules, settings)
  return settings
}
