/** A server process for tests: on its own port, in its own folder, removed when they end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

/** How to start a server. */
export interface ServerCommand {
  readonly file: string
  readonly args: readonly string[]
  /** The server's own folder; its log is written here. It is removed when the tests end. */
  readonly folder: string
  /** The user to run as, when the tests run as root. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
  /** The signal that shuts the server down cleanly and at once. */
  readonly endSignal: NodeJS.Signals
  /** Resolves when the server answers, rejects while it does not. */
  readonly probe: () => Promise<void>
}

const POLL_MS = 10
const START_DEADLINE_MS = 30_000
/** The resources of a killed server, such as PostgreSQL's shared memory, are released late. */
const RETRY_DEADLINE_MS = 2000
const STOP_DEADLINE_MS = 10_000

/** The first executable of that name on `PATH`, then in `folders`; `null` when there is none. */
export function findExecutable(name: string, folders: readonly string[] = []): string | null {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...folders]) {
    if (folder === '') continue
    try {
      accessSync(join(folder, name), constants.X_OK)
      return join(folder, name)
    } catch {
      // Not in this folder: try the next.
    }
  }
  return null
}

/** Returns a loopback port that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no loopback port')
  return address.port
}

/**
 * Repeats `attempt` until it succeeds.
 *
 * @param giveUp returns a reason to stop early.
 * @throws the last error of `attempt`, after `deadlineMs`.
 */
export async function retryUntil<T>(
  attempt: () => T | Promise<T>,
  deadlineMs: number,
  giveUp: () => boolean = () => false,
): Promise<T> {
  const end = Date.now() + deadlineMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (giveUp() || Date.now() > end) throw error
      await setTimeout(POLL_MS)
    }
  }
}

/** One server that can be started, paused, killed and started again. */
export class ServerProcess {
  readonly #command: ServerCommand
  #child: ChildProcess | null = null
  #guard: ChildProcess | null = null

  constructor(command: ServerCommand) {
    this.#command = command
  }

  /**
   * Starts the server and resolves when it answers. If it ends by itself, it is started again for up
   * to two seconds.
   *
   * @throws Error it does not start; the message ends with its log.
   */
  async start(): Promise<void> {
    await retryUntil(async () => {
      const child = this.#spawn()
      const died = () => child.exitCode !== null || child.signalCode !== null
      try {
        await retryUntil(this.#command.probe, START_DEADLINE_MS, died)
        if (died()) throw new Error('another server answers on its port')
      } catch (error) {
        await this.end('SIGKILL')
        const log = readFileSync(this.#logFile, 'utf8').slice(-2000)
        throw new Error(`${this.#command.file} did not start: ${log}`, { cause: error })
      }
    }, RETRY_DEADLINE_MS)
  }

  /** Pauses the process: its connections stay open, but nothing is answered. */
  async pause(): Promise<void> {
    const pid = this.#running().pid!
    process.kill(pid, 'SIGSTOP')
    // The signal takes effect a little later; where /proc shows the state, wait for it.
    if (process.platform !== 'linux') return
    await retryUntil(() => {
      const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.charAt(0)
      if (state !== 'T') throw new Error(`the server is in state ${state ?? '?'}, not stopped`)
    }, STOP_DEADLINE_MS)
  }

  /** Resumes a paused process. */
  resume(): void {
    this.#running().kill('SIGCONT')
  }

  /** Ends the process, paused or not, and resolves when it has ended; does nothing if it has. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit')
      child.kill(signal)
      child.kill('SIGCONT')
      const deadline = AbortSignal.timeout(STOP_DEADLINE_MS)
      deadline.addEventListener('abort', () => child.kill('SIGKILL'))
      child.ref()
      await gone
    }
    this.#guard?.kill('SIGKILL')
    this.#guard = null
  }

  get #logFile(): string {
    return join(this.#command.folder, 'server.log')
  }

  #running(): ChildProcess {
    if (this.#child === null) throw new Error('the server is not running')
    return this.#child
  }

  #spawn(): ChildProcess {
    const { file, args, folder, user, endSignal } = this.#command
    const log = openSync(this.#logFile, 'w')
    const child = spawn(file, args, {
      cwd: folder,
      stdio: ['ignore', log, log],
      ...user,
    })
    closeSync(log)
    // A server must neither keep the tests alive nor crash them when it cannot be started.
    child.unref()
    child.on('error', () => {})
    this.#child = child
    if (child.pid !== undefined) this.#guard = watchOver(child.pid, folder, endSignal)
    return child
  }
}

/**
 * Ends the server and removes its folder when this process ends, in whatever way: the guard's
 * standard input is closed then, even after a SIGKILL.
 */
function watchOver(pid: number, folder: string, endSignal: NodeJS.Signals): ChildProcess {
  const script = `trap '' INT TERM HUP
    while read -r line; do :; done
    kill -${endSignal.slice(3)} "$1"; kill -CONT "$1"
    for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" && sleep 0.1; done
    kill -KILL "$1"; rm -rf "$2"`
  const guard = spawn('/bin/sh', ['-c', script, 'sh', String(pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.on('error', () => {})
  guard.unref()
  ;(guard.stdin as unknown as { unref(): void }).unref()
  return guard
}
