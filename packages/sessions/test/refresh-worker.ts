/** A process that refreshes tokens: reads its setup, then refreshes as often as each line says, at once. */
import { createInterface } from 'node:readline'
import { createRedisStore } from '@parapet/kit'
import { sessions, type KeyInput } from '@parapet/sessions'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { audience, issuer } from './names.ts'

interface Setup {
  readonly url: string
  readonly prefix: string
  readonly key: KeyInput
  readonly secret: string
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const read = async () => JSON.parse((await lines.next()).value as string) as unknown
const { url, prefix, key, secret } = (await read()) as Setup
const client = new Redis(url)
const app = Fastify()
await app.register(sessions, {
  issuer,
  audience,
  keys: { current: key },
  secrets: [secret],
  store: createRedisStore({ client, prefix, deadlineMs: 60_000 }),
  refreshGraceMs: 60_000,
})
await app.ready()
let rotations = 0
app.securityEvents.on(
  'sessions.refreshed',
  ({ details }) => void (rotations += details.repeated ? 0 : 1),
)
process.stdout.write(`${JSON.stringify({ successors: [], rotations, failures: 0 })}\n`)
for (;;) {
  const { refreshToken, times } = (await read()) as { refreshToken: string; times: number }
  rotations = 0
  const refreshes = Array.from({ length: times }, () => app.sessions.refresh(refreshToken))
  const results = await Promise.allSettled(refreshes)
  const successors = results.flatMap((r) =>
    r.status === 'fulfilled' ? [r.value.refreshToken] : [],
  )
  const failures = times - successors.length
  process.stdout.write(
    `${JSON.stringify({ successors: [...new Set(successors)], rotations, failures })}\n`,
  )
}
