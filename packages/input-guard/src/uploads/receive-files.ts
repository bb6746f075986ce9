/** Receives the parts of a form: all of them, or none. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE } from '../errors.ts'
import type { ReceivedFile, ReceivedForm, UploadPart, UploadRules } from './rules.ts'
import { stageFile } from './stage-file.ts'

/** A form, and what deletes its files. */
export interface StagedForm {
  readonly form: ReceivedForm
  /** Deletes every file that is still in the folder; may be called twice. */
  readonly discard: () => Promise<void>
}

const MAX_FIELD_CHARACTERS = 100_000
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Receives a form. If a part is refused, the parts before it are deleted and the rest is not stored.
 *
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED, PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE
 */
export async function receiveFiles(
  parts: AsyncIterable<UploadPart>,
  rules: UploadRules,
): Promise<StagedForm> {
  const folder = await mkdtemp(join(rules.directory ?? tmpdir(), 'parapet-upload-'))
  const discard = () => rm(folder, { recursive: true, force: true })
  try {
    return { form: await receiveAll(parts, rules, folder), discard }
  } catch (error) {
    await discard()
    throw error
  }
}

async function receiveAll(
  parts: AsyncIterable<UploadPart>,
  rules: UploadRules,
  folder: string,
): Promise<ReceivedForm> {
  const { maxFiles = 1, maxFileBytes = 10_485_760, maxFields = 20 } = rules
  const budget = { left: rules.maxTotalBytes ?? maxFiles * maxFileBytes }
  const files: ReceivedFile[] = []
  const fields: Record<string, string> = Object.create(null) as Record<string, string>
  for await (const part of parts) {
    if (part.type !== 'file') {
      addField(fields, part, maxFields)
      continue
    }
    if (files.length >= maxFiles) tooLarge('it has too many files')
    files.push(await stageFile(part, rules, folder, budget))
  }
  return { files, fields }
}

function addField(fields: Record<string, string>, { fieldname, value }: UploadPart, most: number) {
  if (Object.keys(fields).length >= most) tooLarge('it has too many fields')
  const text = String(value)
  if (text.length > MAX_FIELD_CHARACTERS) tooLarge('a field has too many characters')
  if (!PROTOTYPE_NAMES.has(fieldname)) fields[fieldname] = text
}

function tooLarge(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE(problem)
}
