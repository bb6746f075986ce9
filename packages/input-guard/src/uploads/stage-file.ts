/** Writes one uploaded file to a temporary folder and checks it while it arrives. */
import { createHash } from 'node:crypto'
import { open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { uuidV7, withDeadline } from '@parapet/kit'
import {
  PARAPET_INPUT_GUARD_SCAN_FAILED,
  PARAPET_INPUT_GUARD_UPLOAD_REFUSED,
  PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE,
} from '../errors.ts'
import { checkFileName } from '../types/file-name.ts'
import { archiveKindOf, checkArchive, type ArchiveKind } from './archive.ts'
import { canonicalType, findType, SAMPLE_BYTES, type FoundType } from './content-type.ts'
import { fromClient } from './from-client.ts'
import type { ReceivedFile, StagedFile, UploadPart } from './rules.ts'
import type { UploadSettings } from './settings.ts'
import { stored } from './stored.ts'

/** Bytes that a form may still have. */
export interface Budget {
  left: number
}

/**
 * Stages a file.
 *
 * @param folder of this request
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED, PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE,
 *   PARAPET_INPUT_GUARD_SCAN_FAILED, PARAPET_INPUT_GUARD_STORAGE_FAILED
 */
export async function stageFile(
  part: UploadPart,
  rules: UploadSettings,
  folder: string,
  budget: Budget,
): Promise<ReceivedFile> {
  const displayName = checkFileName(part.filename ?? '')
  if (typeof displayName !== 'string') refuse('the name of the file')
  const declared = canonicalType(part.mimetype)
  if (!rules.types.includes(declared)) refuse('the type of the file')
  const id = uuidV7()
  const path = join(folder, id)
  const { found, archive, bytes, sha256 } = await write(part, path, { rules, declared, budget })
  if (archive !== undefined) await checkArchive(path, archive, bytes, rules.archive)
  const staged = await passPorts({ path, type: found.type, bytes }, rules)
  const storedName = `${id}.${found.extension}`
  return { ...staged, field: part.fieldname, storedName, displayName, sha256 }
}

interface Writing {
  readonly rules: UploadSettings
  readonly declared: string
  readonly budget: Budget
}

async function write(part: UploadPart, path: string, writing: Writing) {
  const { maxFileBytes } = writing.rules
  const hash = createHash('sha256')
  const inspection = new Inspection(writing)
  const file = await stored(() => open(path, 'wx', 0o600))
  let bytes = 0
  try {
    for await (const chunk of fromClient(part.file!)) {
      bytes += chunk.length
      writing.budget.left -= chunk.length
      if (bytes > maxFileBytes || writing.budget.left < 0) tooLarge('a file has too many bytes')
      await inspection.push(chunk)
      hash.update(chunk)
      await stored(() => file.write(chunk))
    }
    if (part.file!.truncated === true) tooLarge('a file has too many bytes')
    return { ...(await inspection.end()), bytes, sha256: hash.digest('hex') }
  } finally {
    await file.close()
  }
}

/** What the first bytes of a file say. */
interface Decision {
  readonly found: FoundType
  readonly archive: ArchiveKind | undefined
}

/** Collects the sample, then decides the type. */
class Inspection {
  readonly #writing: Writing
  #sample = Buffer.alloc(0)
  #decision: Decision | undefined

  constructor(writing: Writing) {
    this.#writing = writing
  }

  async push(chunk: Buffer): Promise<void> {
    if (this.#decision !== undefined) return
    this.#sample = Buffer.concat([this.#sample, chunk])
    if (this.#sample.length >= SAMPLE_BYTES) this.#decision = await this.#decide()
  }

  async end(): Promise<Decision> {
    return this.#decision ?? this.#decide()
  }

  async #decide(): Promise<Decision> {
    const { declared } = this.#writing
    const sample = this.#sample.subarray(0, SAMPLE_BYTES)
    const found = await findType(sample, declared)
    if (found === undefined || found.type !== declared) {
      refuse('its content is not of the declared type')
    }
    return { found, archive: archiveKindOf(sample) }
  }
}

async function passPorts(file: StagedFile, rules: UploadSettings): Promise<StagedFile> {
  const { scan, reencode, portTimeoutMs } = rules
  if (scan !== undefined) {
    const verdict = await guarded(() => withDeadline(scan(file), portTimeoutMs, late))
    if (verdict !== 'clean') refuse('the scanner')
  }
  if (reencode === undefined || !file.type.startsWith('image/')) return file
  const target = `${file.path}.new`
  return guarded(async () => {
    await withDeadline(reencode(file, target), portTimeoutMs, late)
    await rename(target, file.path)
    return { ...file, bytes: (await stat(file.path)).size }
  })
}

/** A port that fails must not let a file pass. */
async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_SCAN_FAILED(), { cause })
  }
}

function refuse(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_REFUSED(problem)
}

function tooLarge(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE(problem)
}

function late(): Error {
  return new PARAPET_INPUT_GUARD_SCAN_FAILED()
}
