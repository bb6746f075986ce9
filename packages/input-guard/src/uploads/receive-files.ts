/** Receives the parts of a form: all of them, or none. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@parapet/kit'
import { PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE } from '../errors.ts'
import type { ReceivedFile, ReceivedForm, UploadPart } from './rules.ts'
import type { UploadSettings } from './settings.ts'
import { stageFile } from './stage-file.ts'
import { stored } from './stored.ts'

/** A form, and what deletes its files. */
export interface StagedForm {
  readonly form: ReceivedForm
  /** Deletes every file that is still in the folder; may be called twice. */
  readonly discard: () => Promise<void>
}

const PREFIX = 'parapet-upload-'
/** No request takes so long, so the process that made the folder was killed. Process ids say nothing across containers. */
const ABANDONED_AFTER_MS = 86_400_000
const MAX_DIRECTORIES = 1000
/** When each directory was cleaned. */
const cleanedDirectories = new Map<string, number>()
const MAX_FIELD_CHARACTERS = 100_000
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Receives a form. If a part is refused, the parts before it are deleted and the rest is not stored.
 *
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED, PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE,
 *   PARAPET_INPUT_GUARD_SCAN_FAILED, PARAPET_INPUT_GUARD_STORAGE_FAILED
 */
export async function receiveFiles(
  parts: AsyncIterable<UploadPart>,
  rules: UploadSettings,
  now = systemClock.now,
): Promise<StagedForm> {
  const directory = rules.directory ?? tmpdir()
  await deleteAbandoned(directory, now())
  const folder = await stored(() => mkdtemp(join(directory, PREFIX)))
  const discard = () => rm(folder, { recursive: true, force: true })
  try {
    return { form: await receiveAll(parts, rules, folder), discard }
  } catch (error) {
    await discard()
    throw error
  }
}

/** Deletes what killed processes left, once a day for each directory. */
async function deleteAbandoned(directory: string, now: number): Promise<void> {
  const cleanedAt = cleanedDirectories.get(directory) ?? Number.NEGATIVE_INFINITY
  if (now - cleanedAt < ABANDONED_AFTER_MS) return
  const names = await stored(() => readdir(directory))
  if (cleanedDirectories.size >= MAX_DIRECTORIES) cleanedDirectories.clear()
  cleanedDirectories.set(directory, now)
  for (const name of names) {
    if (!name.startsWith(PREFIX)) continue
    const path = join(directory, name)
    // Another process may delete the folder at the same time, or own it.
    const changedAt = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Number.POSITIVE_INFINITY,
    )
    if (now - changedAt < ABANDONED_AFTER_MS) continue
    await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

async function receiveAll(
  parts: AsyncIterable<UploadPart>,
  rules: UploadSettings,
  folder: string,
): Promise<ReceivedForm> {
  const { maxFiles, maxFileBytes, maxFields } = rules
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
