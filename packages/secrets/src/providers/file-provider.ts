/**
 * Secrets from files, as Docker and Kubernetes mount them. The file is long because looking, reading and
 * watching share what a file looked like.
 */
import { constants, type Stats } from 'node:fs'
import { open, realpath, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { option, readOptions, systemClock, type Clock } from '@parapet/kit'
import {
  PARAPET_SECRETS_INVALID_OPTION,
  PARAPET_SECRETS_NOT_FOUND,
  PARAPET_SECRETS_PROVIDER_FAILED,
} from '../errors.ts'
import {
  bounded,
  type ProvidedSecret,
  type ProviderFinding,
  type SecretsProvider,
} from './provider.ts'

/** What {@link createFileProvider} takes. */
export interface FileProviderOptions {
  /** The folder of the files, for instance `/run/secrets`. */
  readonly directory: string
  /** How often the files are compared with what was read, 50 to 600 000 milliseconds. @default 500 */
  readonly pollMs?: number
  /**
   * How long a plain file must have been unchanged before it is read, 0 to 60 000 milliseconds: a file that
   * is written in place is not read half. A folder with `..data` is swapped at once. @default 200
   */
  readonly settleMs?: number
  /** How long reading a file may take. @default 5000 */
  readonly deadlineMs?: number
  readonly clock?: Clock
}

/** What a file looked like: a later change of it is a change of this text. */
type Fingerprint = string

const MAX_BYTES = 1_048_576
const READ_ATTEMPTS = 40
/** Kubernetes puts all files of a volume behind this link, and replaces the link in one step. */
const DATA_LINK = '..data'

/**
 * Makes the provider. Paths are names of files in the folder. One line end at the end of a file is left
 * out.
 *
 * @throws PARAPET_SECRETS_INVALID_OPTION
 */
export function createFileProvider(options: FileProviderOptions): SecretsProvider {
  const settings = readOptions(
    'createFileProvider',
    options,
    {
      directory: option.text({ max: 4096 }),
      pollMs: option.milliseconds({ min: 50, max: 600_000, default: 500 }),
      settleMs: option.milliseconds({ min: 0, max: 60_000, default: 200 }),
      deadlineMs: option.milliseconds({ max: 600_000, default: 5000 }),
      clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
    },
    PARAPET_SECRETS_INVALID_OPTION,
  )
  return new FileProvider(settings)
}

const doNothing = (): void => {}

class FileProvider implements SecretsProvider {
  readonly name = 'files'
  readonly #directory: string
  readonly #settings: Required<FileProviderOptions>
  readonly #seen = new Map<string, Fingerprint>()

  constructor(settings: Required<FileProviderOptions>) {
    this.#settings = settings
    this.#directory = resolve(settings.directory)
  }

  read(path: string): Promise<ProvidedSecret> {
    return bounded(this.#read(path), { ...this.#settings, name: this.name })
  }

  async #read(path: string): Promise<ProvidedSecret> {
    requireFileName(path)
    const { settleMs } = this.#settings
    let seen = { fingerprint: '', at: 0 }
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const before = await this.#look(path)
      if (before === null) throw new PARAPET_SECRETS_NOT_FOUND(join(this.#directory, path))
      const { fingerprint } = before
      if (seen.fingerprint !== fingerprint) seen = { fingerprint, at: performance.now() }
      // The time of a file may lie ahead: then it has to look the same for as long.
      const unchangedMs = Math.max(Date.now() - before.modifiedMs, performance.now() - seen.at)
      if (before.isSwapped || unchangedMs >= settleMs) {
        const value = await this.#readText(before.file)
        const after = await this.#look(path)
        if (value !== null && after?.fingerprint === before.fingerprint) {
          this.#seen.set(path, before.fingerprint)
          return { value, version: before.fingerprint }
        }
      }
      // In real time, as the times of files are.
      await setTimeout(Math.max(10, settleMs / 4))
    }
    throw new PARAPET_SECRETS_PROVIDER_FAILED(
      this.name,
      `${path} is empty, or changes all the time`,
    )
  }

  /** Where the file is and what it looks like; `null`: there is none. */
  async #look(path: string) {
    try {
      const root = await this.#root()
      const isSwapped = root !== null
      const file = join(root ?? this.#directory, path)
      const found = await stat(file)
      requireRegular(found, path)
      const { ino, size, mtimeMs, mode } = found
      const fingerprint = [root ?? '', ino, size, mtimeMs].join(':')
      return { file, isSwapped, modifiedMs: mtimeMs, mode, fingerprint }
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') return null
      if (code.startsWith('PARAPET_')) throw error
      throw new PARAPET_SECRETS_PROVIDER_FAILED(this.name, `${path}: ${code}`)
    }
  }

  async #root(): Promise<string | null> {
    return realpath(join(this.#directory, DATA_LINK)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    })
  }

  /** `null`: the file disappeared, or was empty while it was being written. */
  async #readText(file: string): Promise<string | null> {
    try {
      // Opening a pipe would wait for its writer, and block a thread.
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const found = await handle.stat()
        requireRegular(found, file)
        if (found.size > MAX_BYTES)
          throw new PARAPET_SECRETS_PROVIDER_FAILED(this.name, 'a file is larger than 1 MiB')
        const text = decode(await handle.readFile(), file).replace(/\r?\n$/, '')
        return text === '' ? null : text
      } finally {
        await handle.close()
      }
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return null
      if (code.startsWith('PARAPET_')) throw error
      throw new PARAPET_SECRETS_PROVIDER_FAILED(this.name, `${file}: ${code}`)
    }
  }

  watch(onChange: () => void): () => void {
    const { clock, pollMs } = this.#settings
    const state = { isStopped: false, cancel: doNothing }
    const poll = async (): Promise<void> => {
      const hasChanged = await this.#hasChanged()
      if (state.isStopped) return
      if (hasChanged) onChange()
      schedule()
    }
    const schedule = (): void => {
      state.cancel = clock.schedule(pollMs, () => void poll())
    }
    schedule()
    return () => {
      state.isStopped = true
      state.cancel()
    }
  }

  async #hasChanged(): Promise<boolean> {
    for (const [path, fingerprint] of this.#seen) {
      // A file that is away for a moment, or cannot be read, is left to the next refresh.
      const found = await this.#look(path).catch(() => null)
      if (found !== null && found.fingerprint !== fingerprint) return true
    }
    return false
  }

  async inspect(paths: readonly string[]): Promise<readonly ProviderFinding[]> {
    const findings: ProviderFinding[] = []
    for (const path of paths) {
      const found = await this.#look(path)
      if (found !== null && (found.mode & 0o007) !== 0) {
        findings.push({
          severity: 'error',
          problem: `every user of the machine can access the file ${found.file}`,
          fix: 'set its mode to 0600, or 0440 with a group (Kubernetes: defaultMode)',
        })
      }
    }
    return findings
  }
}

function requireRegular(found: Stats, file: string): void {
  if (found.isFile()) return
  throw new PARAPET_SECRETS_PROVIDER_FAILED('files', `${file} is not a regular file`)
}

/** Without a byte order mark. Bytes that are no text would be replaced, and the secret be another one. */
function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    const reason = `${file} is not UTF-8 text; store binary keys as base64`
    throw new PARAPET_SECRETS_PROVIDER_FAILED('files', reason)
  }
}

/** A path must not leave the folder. */
function requireFileName(path: string): void {
  if (/^(?!\.)[\w.-]{1,255}$/.test(path)) return
  throw new PARAPET_SECRETS_PROVIDER_FAILED(
    'files',
    'a path must be the name of a file in the folder',
  )
}
