/**
 * How long a refresh takes while 60 connections guess passwords, compared with a quiet service. The
 * service is a process of its own, so that its clients do not use its event loop.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import {
  createPasswordCheck,
  generateKey,
  generateSecret,
  hashPassword,
  sessions,
} from '@parapet/sessions'
import { goal } from '@parapet/testing'
import Fastify from 'fastify'

const GUESSERS = 60
const ROUNDS = 5
const REFRESHES = 40
const LOGIN = '/auth/login'
const REFRESH = '/auth/refresh'

if (process.argv[2] === 'serve') await serve()
else await measure()

async function serve(): Promise<void> {
  const passwordHash = await hashPassword('right')
  const app = Fastify()
  await app.register(sessions, {
    issuer: 'https://api.example.com',
    audience: 'example-api',
    keys: { current: generateKey(null) },
    secrets: [generateSecret()],
    prefix: '/auth',
    credentials: createPasswordCheck({
      findAccount: async () => ({ user: { id: 'user-1', roles: ['reader'] }, passwordHash }),
    }),
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.send!((app.server.address() as AddressInfo).port)
  process.once('disconnect', () => void app.close())
}

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, string>>
}

function createClient(port: number): (path: string, body: object) => Promise<Answer> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  return async (path, body) => {
    const headers = { 'content-type': 'application/json' }
    const sent = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers })
    sent.end(JSON.stringify(body))
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const { statusCode: status = 0 } = response
    return { status, body: (await json(response)) as Answer['body'] }
  }
}

async function measure(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), ['serve'])
  const [port] = (await once(server, 'message')) as [number]
  const owner = createClient(port)
  const login = await owner(LOGIN, { login: 'a', password: 'right' })
  let token = login.body['refresh_token']!
  const refreshTimes = async (): Promise<number[]> => {
    const times: number[] = []
    for (let n = 0; n < REFRESHES; n++) {
      const start = performance.now()
      const { status, body } = await owner(REFRESH, { refresh_token: token })
      times.push(performance.now() - start)
      if (status !== 200) throw new Error(`a refresh answered ${status}`)
      token = body['refresh_token']!
    }
    return times
  }
  await refreshTimes()

  const answers = new Map<number, number>()
  const quiet: number[] = []
  const attacked: number[] = []
  const ratios: number[] = []
  // Quiet and attacked phases take turns, so that a slow phase of the machine meets both.
  for (let round = 0; round < ROUNDS; round++) {
    const before = await refreshTimes()
    const endAttack = attack(port, answers)
    const during = await refreshTimes()
    await endAttack()
    quiet.push(...before)
    attacked.push(...during)
    ratios.push(quantile(during, 0.5) / quantile(before, 0.5))
  }
  for (const [name, times] of Object.entries({ quiet, attacked })) {
    const [half, most] = [quantile(times, 0.5), quantile(times, 0.95)]
    console.log(`refresh, ${name}: median ${half.toFixed(1)} ms, 95 % ${most.toFixed(1)} ms`)
  }
  console.log('answers to guesses, by status:', Object.fromEntries(answers))
  goal('refresh-under-guessing', quantile(ratios, 0.5), 3)
  server.disconnect()
}

/** Starts the guessers, which do not wait between answers. Returns the function that ends them. */
function attack(port: number, answers: Map<number, number>): () => Promise<unknown> {
  const state = { over: false }
  const guessers = Array.from({ length: GUESSERS }, async () => {
    const guess = createClient(port)
    while (!state.over) {
      const { status } = await guess(LOGIN, { login: 'a', password: 'wrong' })
      answers.set(status, (answers.get(status) ?? 0) + 1)
    }
  })
  return async () => {
    state.over = true
    await Promise.all(guessers)
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}
