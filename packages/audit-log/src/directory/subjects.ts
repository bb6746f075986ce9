/** Subject keys, personal values and large members in a directory. */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { StoredValue, SubjectState } from '../log/log-store.ts'
import type { Attachments, SealedValue, SubjectKey } from '../record/personal-data.ts'

interface SubjectFile {
  readonly keys: Map<string, SubjectKey>
  readonly values: SealedValue[]
}

type Line = { readonly key: SubjectKey } | { readonly value: SealedValue }

const PRIVATE_FILE = 0o600
const PRIVATE_FOLDER = 0o700

/** One file per subject, which an erasure removes, and one file per large text. */
export class DirectorySubjects {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Stores attachments. Repeating a call does no harm. */
  async add({ keys = [], values = [], blob }: Attachments): Promise<void> {
    for (const subject of new Set([...keys, ...values].map((item) => item.subject))) {
      const erasedAt = await this.#erasedAt(subject)
      const fresh = keys.filter(
        (key) => key.subject === subject && (erasedAt === null || key.createdAt > erasedAt),
      )
      const ids = new Set(fresh.map(({ id }) => id))
      const lines: Line[] = [
        ...fresh.map((key) => ({ key })),
        ...values.filter((value) => ids.has(value.keyId)).map((value) => ({ value })),
      ]
      if (lines.length > 0) await this.#append(this.#subjectPath(subject), lines)
    }
    if (blob !== undefined) {
      const sha256 = createHash('sha256').update(blob).digest('hex')
      await write(this.#blobPath(sha256), blob, 'w')
    }
  }

  async valuesOf(records: readonly string[], subjects: readonly string[]): Promise<StoredValue[]> {
    const wanted = new Set(records)
    const found: StoredValue[] = []
    for (const subject of new Set(subjects)) {
      const { keys, values } = await this.#read(subject)
      for (const value of values) {
        const key = keys.get(value.keyId)
        if (wanted.has(value.record) && key !== undefined) found.push({ value, key })
      }
    }
    return found
  }

  async blob(sha256: string): Promise<string | undefined> {
    return readText(this.#blobPath(sha256))
  }

  async erase(subject: string, time: number): Promise<{ keys: number; values: number }> {
    const { keys, values } = await this.#read(subject)
    // The time of the erasure comes first: keys that arrive late are compared with it.
    await write(this.#erasedPath(subject), String(time), 'w')
    await rm(this.#subjectPath(subject), { force: true })
    return { keys: keys.size, values: values.length }
  }

  async list(after: string, limit: number): Promise<SubjectState[]> {
    const names = new Set<string>()
    for (const shard of await namesIn(join(this.#folder, 'subjects'))) {
      for (const name of await namesIn(join(this.#folder, 'subjects', shard))) {
        names.add(name.replace(/\.(?:ndjson|erased)$/, ''))
      }
    }
    const wanted = [...names]
      .filter((name) => name > after)
      .toSorted()
      .slice(0, limit)
    return Promise.all(wanted.map((subject) => this.state(subject)))
  }

  async state(subject: string): Promise<SubjectState> {
    const { keys, values } = await this.#read(subject)
    const erasedAt = await this.#erasedAt(subject)
    return { subject, keys: keys.size, values: values.length, erasedAt }
  }

  async #read(subject: string): Promise<SubjectFile> {
    const file: SubjectFile = { keys: new Map(), values: [] }
    const seen = new Set<string>()
    for (const text of ((await readText(this.#subjectPath(subject))) ?? '').split('\n')) {
      const line = parseLine(text)
      if (line === undefined) continue
      if ('key' in line) file.keys.set(line.key.id, line.key)
      else if (!seen.has(`${line.value.record}/${line.value.path}`)) {
        seen.add(`${line.value.record}/${line.value.path}`)
        file.values.push(line.value)
      }
    }
    return file
  }

  async #erasedAt(subject: string): Promise<number | null> {
    const text = await readText(this.#erasedPath(subject))
    return text === undefined ? null : Number(text)
  }

  async #append(path: string, lines: readonly Line[]): Promise<void> {
    // The leading line break ends a line that a crash truncated.
    await write(path, `\n${lines.map((line) => JSON.stringify(line)).join('\n')}\n`, 'a')
  }

  #subjectPath(subject: string): string {
    return join(this.#folder, 'subjects', subject.slice(0, 2), `${subject}.ndjson`)
  }

  #erasedPath(subject: string): string {
    return join(this.#folder, 'subjects', subject.slice(0, 2), `${subject}.erased`)
  }

  #blobPath(sha256: string): string {
    return join(this.#folder, 'blobs', sha256.slice(0, 2), sha256)
  }
}

function parseLine(text: string): Line | undefined {
  try {
    return text === '' ? undefined : (JSON.parse(text) as Line)
  } catch {
    return undefined
  }
}

async function write(path: string, text: string, flag: 'a' | 'w'): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: PRIVATE_FOLDER })
  const file = await open(path, flag, PRIVATE_FILE)
  try {
    await file.appendFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}
