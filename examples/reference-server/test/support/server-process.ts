/** Starts the server as a process, and sends bytes over raw sockets. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** Unsets variables that the environment of the tests may have set. */
const unset = {
  DATABASE_URL: '',
  REDIS_URL: '',
  HOST: '',
  TRUST_PROXY: '',
  LOG_LEVEL: '',
  ADMIN_EMAIL: '',
  ADMIN_PASSWORD: '',
  // A busy machine must not fail a test: the event loop may be late.
  MAX_EVENT_LOOP_DELAY_MS: '0',
}

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string }

/** A server process and its log. */
export interface RunningServer {
  readonly url: string
  readonly port: number
  readonly child: ChildProcess
  readonly log: readonly LogLine[]
  /** Resolves with the first matching line, logged already or later. */
  waitFor(matches: (line: LogLine) => boolean): Promise<LogLine>
  /** Resolves with the first matching line that is logged from now on. */
  nextLine(matches: (line: LogLine) => boolean): Promise<LogLine>
  /** Sends a signal and resolves with the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>
}

interface TestScope {
  after(handler: () => Promise<void>): unknown
}

/**
 * Starts the process and kills it after the test.
 *
 * @param nodeArgs additional arguments for node.
 * @param command arguments of the server, such as `migrate`.
 */
export function spawnServer(
  t: TestScope,
  env: Readonly<Record<string, string>>,
  nodeArgs: readonly string[] = [],
  command: readonly string[] = [],
) {
  const source = ['--import=./scripts/ts.mjs', '--conditions=@parapet/source']
  const args = [...source, ...nodeArgs, main, ...command]
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...unset, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'close') as Promise<[code: number | null]>
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await exited
    }
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  return { child, exited, output: () => output }
}

/** Starts the process and waits until it listens. */
export async function startServer(
  t: TestScope,
  env: Readonly<Record<string, string>>,
  nodeArgs: readonly string[] = [],
): Promise<RunningServer> {
  const { child, exited, output } = spawnServer(t, env, nodeArgs)
  const log: LogLine[] = []
  const waiting = new Set<(line: LogLine) => void>()
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as LogLine
    log.push(line)
    for (const look of waiting) look(line)
  })

  const nextLine: RunningServer['nextLine'] = (matches) =>
    new Promise((resolve, reject) => {
      const look = (line: LogLine): void => {
        if (!matches(line)) return
        waiting.delete(look)
        resolve(line)
      }
      waiting.add(look)
      void exited.then(([code]) => reject(new Error(`exit ${code}: ${output()}`)))
    })
  const waitFor: RunningServer['waitFor'] = async (matches) =>
    log.find(matches) ?? nextLine(matches)

  const { msg } = await waitFor((line) => line.msg?.startsWith('Server listening at http') === true)
  const url = msg!.replace(/^\D+ at /, '')
  return {
    url,
    port: Number(new URL(url).port),
    child,
    log,
    waitFor,
    nextLine,
    async end(signal = 'SIGTERM') {
      child.kill(signal)
      const [code] = await exited
      return code
    },
  }
}

/** A response that was read from a raw socket. */
export interface RawReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Sends bytes and reads the response until the server ends the connection. */
export async function exchange(port: number, bytes: string): Promise<RawReply> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(bytes)
  await once(socket, 'end')
  socket.destroy()
  return parseReply(text)
}

/** Parses the bytes of a response. */
function parseReply(text: string): RawReply {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(headers),
    body: rest.join('\r\n\r\n'),
  }
}

/** Sends the headers and half of the body of a POST, after the server has read the headers. */
export async function startPost(
  port: number,
  path: string,
  body: string,
  { authorization = '' }: { readonly authorization?: string } = {},
) {
  const socket = connect(port, '127.0.0.1')
  const bytes = Buffer.from(body)
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
      (authorization === '' ? '' : `Authorization: ${authorization}\r\n`) +
      `Content-Length: ${bytes.length}\r\nExpect: 100-continue\r\n\r\n`,
  )
  const [interim] = (await once(socket, 'data')) as [Buffer]
  const half = Math.floor(bytes.length / 2)
  socket.write(bytes.subarray(0, half))
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  const ended = once(socket, 'close')
  return {
    interim: interim.toString('latin1'),
    /** Sends the rest; resolves with the response when the server has ended the connection. */
    async finish(): Promise<RawReply> {
      socket.write(bytes.subarray(half))
      await ended
      return parseReply(text)
    },
    ended,
  }
}
