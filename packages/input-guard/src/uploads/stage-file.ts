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
import { createArchiveCheck, isArchive, type ArchiveCheck } from './archive.ts'
import { canonicalType, findType, SAMPLE_BYTES, type FoundType } from './content-type.ts'
import type { ReceivedFile, StagedFile, UploadPart, UploadRules } from './rules.ts'

/** Bytes that a form may still have. */
export interface Budget {
  left: number
}

/**
 * Stages a file.
 *
 * @param folder of this request
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED, PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE,
 *   PARAPET_INPUT_GUARD_SCAN_FAILED
 */
export async function stageFile(
  part: UploadPart,
  rules: UploadRules,
  folder: string,
  budget: Budget,
): Promise<ReceivedFile> {
  const displayName = checkFileName(part.filename ?? '')
  if (typeof displayName !== 'string') refuse('the name of the file')
  const declared = canonicalType(part.mimetype)
  if (!rules.types.includes(declared)) refuse('the type of the file')
  const id = uuidV7()
  const path = join(folder, id)
  const { found, bytes, sha256 } = await write(part, path, { rules, declared, budget })
  const staged = await passPorts({ path, type: found.type, bytes }, rules)
  const storedName = `${id}.${found.extension}`
  return { ...staged, field: part.fieldname, storedName, displayName, sha256 }
}

interface Writing {
  readonly rules: UploadRules
  readonly declared: string
  readonly budget: Budget
}

async function write(part: UploadPart, path: string, writing: Writing) {
  const { maxFileBytes = 10_485_760 } = writing.rules
  const hash = createHash('sha256')
  const inspection = new Inspection(writing)
  const file = await open(path, 'wx', 0o600)
  let bytes = 0
  try {
    for await (const chunk of part.file!) {
      bytes += chunk.length
      writing.budget.left -= chunk.length
      if (bytes > maxFileBytes || writing.budget.left < 0) tooLarge('a file has too many bytes')
      await inspection.push(chunk)
      hash.update(chunk)
      await file.write(chunk)
    }
    if (part.file!.truncated === true) tooLarge('a file has too many bytes')
    const found = await inspection.end()
    return { found, bytes, sha256: hash.digest('hex') }
  } finally {
    await file.close()
  }
}

/** Collects the sample, then decides the type and reads archives. */
class Inspection {
  readonly #writing: Writing
  #sample: Buffer | undefined = Buffer.alloc(0)
  #found: FoundType | undefined
  #archive: ArchiveCheck | undefined

  constructor(writing: Writing) {
    this.#writing = writing
  }

  async push(chunk: Buffer): Promise<void> {
    if (this.#sample === undefined) {
      this.#archive?.push(chunk)
      return
    }
    this.#sample = Buffer.concat([this.#sample, chunk])
    if (this.#sample.length >= SAMPLE_BYTES) await this.#decide(this.#sample)
  }

  async end(): Promise<FoundType> {
    if (this.#sample !== undefined) await this.#decide(this.#sample)
    this.#archive?.end()
    return this.#found!
  }

  async #decide(bytes: Buffer): Promise<void> {
    this.#sample = undefined
    const { declared, rules } = this.#writing
    const found = await findType(bytes.subarray(0, SAMPLE_BYTES), declared)
    if (found === undefined || found.type !== declared) {
      refuse('its content is not of the declared type')
    }
    this.#found = found
    if (!isArchive(found.type)) return
    this.#archive = await createArchiveCheck(rules.archive ?? {})
    this.#archive.push(bytes)
  }
}

async function passPorts(file: StagedFile, rules: UploadRules): Promise<StagedFile> {
  const { scan, reencode, portTimeoutMs = 30_000 } = rules
  if (scan !== undefined) {
    const verdict = await guarded(() => withDeadline(scan(file), portTimeoutMs, late))
    if (verdict !== 'clean') refuse('the scanner')
  }
  if (reencode === undefined || !file.type.startsWith('image/')) return file
  const target = `${file.path}.new`
  await guarded(() => withDeadline(reencode(file, target), portTimeoutMs, late))
  await rename(target, file.path)
  return { ...file, bytes: (await stat(file.path)).size }
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
