/**
 * Servers of benchmarks: each runs in a process of its own, and reports the CPU time that it has used,
 * so that the client's cost is not counted.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { plainNode } from './node-command.ts'

/** A server in another process. */
export interface MeasuredServer {
  readonly port: number
  /** What the server told with its port, such as a token. */
  readonly told: string
  /** The CPU time of all threads of the server since its start, in microseconds. */
  cpuMicros(): Promise<number>
  stop(): Promise<void>
}

/** Starts `file`, which has to call {@link serveMeasured}. */
export async function startMeasured(file: URL, args: readonly string[]): Promise<MeasuredServer> {
  const [command, given] = plainNode([fileURLToPath(file), ...args])
  const child = spawn(command, given, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const exited = once(child, 'exit')
  const started = once(child, 'message')
  const [first] = (await Promise.race([started, exited])) as [unknown]
  if (typeof first !== 'object') throw new Error(`the server ${args.join(' ')} did not start`)
  const { port, told } = first as { port: number; told: string }
  return {
    port,
    told,
    async cpuMicros() {
      child.send('cpu')
      const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
      return user + system
    },
    async stop() {
      child.disconnect()
      await exited
    },
  }
}

/** Reports the port of a server that listens. The process ends when the benchmark disconnects. */
export function serveMeasured(port: number, told = '', close?: () => Promise<unknown>): void {
  process.on('message', () => process.send!(process.cpuUsage()))
  process.on('disconnect', () => {
    void Promise.resolve(close?.()).finally(() => process.exit(0))
  })
  process.send!({ port, told })
}

/** What to send, and how. */
export interface Load {
  readonly port: number
  /** The bytes of one request, which keeps the connection alive; a function gets the number of the request. */
  readonly request: string | ((index: number) => string)
  readonly count: number
  /** @default 16 */
  readonly connections?: number
}

/**
 * Sends requests over kept-alive connections, one at a time on each, and waits for all responses.
 *
 * @returns the time of each request, in milliseconds.
 * @throws Error a response has another status than 200, or no `content-length`.
 */
export async function sendLoad({
  port,
  request,
  count,
  connections = 16,
}: Load): Promise<number[]> {
  const times: number[] = []
  const each = Math.ceil(count / connections)
  let index = 0
  const next = typeof request === 'string' ? () => request : () => request(index++)
  await Promise.all(Array.from({ length: connections }, () => sendOn(port, next, each, times)))
  return times
}

async function sendOn(
  port: number,
  next: () => string,
  count: number,
  times: number[],
): Promise<void> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true).setEncoding('latin1')
  let left = count
  let start = performance.now()
  let received = ''
  socket.on('data', (chunk: string) => {
    received += chunk
    const length = lengthOf(received)
    if (length === null || received.length < length) return
    if (!received.startsWith('HTTP/1.1 200')) {
      socket.destroy(new Error(`not 200: ${received.slice(0, 500)}`))
      return
    }
    received = ''
    times.push(performance.now() - start)
    start = performance.now()
    if (--left > 0) socket.write(next())
    else socket.end()
  })
  socket.write(next())
  await once(socket, 'close')
  if (left > 0) throw new Error('the server ended the connection')
}

/** The length of the whole response; `null` while its headers are incomplete. */
function lengthOf(received: string): number | null {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return null
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(received.slice(0, end)) ?? []
  if (length === undefined) throw new Error('the response has no content-length')
  return end + 4 + Number(length)
}
