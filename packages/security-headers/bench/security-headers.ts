/**
 * Measures the CPU time of the server per request: without the plugin, with it, and with
 * @fastify/helmet and @fastify/cors. Each variant runs in its own process. The variants take turns,
 * and only measurements of the same round are compared.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { goal, plainNode } from '@parapet/testing'

/** The compiler optimises each process differently, so each variant runs in several processes. */
const GENERATIONS = 3
const ROUNDS_EACH = 9
const ROUNDS = GENERATIONS * ROUNDS_EACH
const REQUESTS = 2000
const CONNECTIONS = 16
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nAccept: */*\r\n\r\n'

const variants = [
  'bare',
  'helmet',
  'helmet-nonces',
  'hook-12',
  'frozen-12',
  'frozen-12-nonce',
  'api',
  'web-nonce',
  'cors',
  'api-fastify-cors',
  'api-cors',
] as const
type Variant = (typeof variants)[number]

interface Server {
  readonly child: ChildProcess
  readonly port: number
}

async function start(variant: Variant): Promise<Server> {
  const file = fileURLToPath(new URL('servers/serve.ts', import.meta.url))
  const [command, args] = plainNode([file, variant])
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [port] = (await once(child, 'message')) as [number]
  return { child, port }
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu')
  const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
  return user + system
}

/** Sends requests over keep-alive connections, one at a time on each. */
async function load(port: number, requests: number): Promise<void> {
  const each = Math.ceil(requests / CONNECTIONS)
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = connect(port, '127.0.0.1').setNoDelay(true)
      let left = each
      let tail = ''
      socket.setEncoding('latin1')
      socket.on('data', (chunk: string) => {
        tail = (tail + chunk).slice(-16)
        if (!/\{"nonce":\w+\}$/.test(tail)) return
        tail = ''
        if (--left > 0) socket.write(REQUEST)
        else socket.end()
      })
      socket.write(REQUEST)
      await once(socket, 'close')
    }),
  )
}

const micros = new Map<Variant, number[]>(variants.map((variant) => [variant, []]))
for (let generation = 0; generation < GENERATIONS; generation++) await measureGeneration()

async function measureGeneration(): Promise<void> {
  const servers = new Map<Variant, Server>()
  for (const variant of variants) servers.set(variant, await start(variant))
  for (const { port } of servers.values()) await load(port, 10 * REQUESTS)
  for (let round = 0; round < ROUNDS_EACH; round++) {
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = variants[(round + turn) % variants.length]!
      const { child, port } = servers.get(variant)!
      const before = await cpuOf(child)
      await load(port, REQUESTS)
      micros.get(variant)!.push(((await cpuOf(child)) - before) / REQUESTS)
    }
  }
  for (const { child } of servers.values()) child.disconnect()
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

/** Computes a value from the measurements of each round. @returns the median of all rounds. */
function byRound(compute: (of: (variant: Variant) => number) => number): number {
  return median(
    Array.from({ length: ROUNDS }, (_, round) =>
      compute((variant) => micros.get(variant)![round]!),
    ),
  )
}

console.log(
  `node ${process.version}, ${ROUNDS} rounds of ${REQUESTS} requests, CPU time of the server`,
)
for (const variant of variants) {
  const added = byRound((of) => of(variant) - of('bare'))
  console.log(
    `${variant.padEnd(16)} ${median(micros.get(variant)!).toFixed(1).padStart(6)} us  added ${added.toFixed(1).padStart(6)} us  ` +
      `capacity ${byRound((of) => of('bare') / of(variant)).toFixed(2)}`,
  )
}
const added = (variant: Variant, base: Variant = 'bare') => byRound((of) => of(variant) - of(base))
console.log(
  `twelve headers cost ${byRound((of) => of('frozen-12') / of('hook-12')).toFixed(2)} x what a hook of Fastify needs that only copies them`,
)
goal('web-nonce-added-to-helmet-nonces', added('web-nonce') / added('helmet-nonces'), 0.35)
goal('api-added-to-helmet', added('api') / added('helmet'), 0.35)
goal(
  'capacity-12-headers',
  byRound((of) => of('bare') / of('frozen-12')),
  0.8,
  'at-least',
)
goal(
  'capacity-12-headers-nonce',
  byRound((of) => of('bare') / of('frozen-12-nonce')),
  0.75,
  'at-least',
)
goal('cors-added-to-fastify-cors', added('api-cors', 'api') / added('cors'), 1)
// The same comparison on equal responses: one more header costs more if there are many already.
goal(
  'cors-on-the-block-to-fastify-cors',
  byRound((of) => of('api-cors') / of('api-fastify-cors')),
  1,
)
