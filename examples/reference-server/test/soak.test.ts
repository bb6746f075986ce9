/**
 * The server under mixed load and attack: seconds in tests, 30 minutes with `pnpm soak` (`PARAPET_SOAK_SECONDS`
 * changes that). It needs little more memory at the end than after its first tenth, never answers 500, and prints
 * its latency.
 */
import { randomBytes } from 'node:crypto'
import { monotonicSeconds, percentile, readGauge } from './support/soak.ts'
import { runs } from '@parapet/testing'
import t from 'tap'
import { ask, type FleetAnswer } from './support/fleet.ts'
import { startServer } from './support/server-process.ts'
import { createDataFolder, password } from './support/test-app.ts'

const SECONDS = Number(process.env['PARAPET_SOAK_SECONDS'] ?? runs(8, 1800))
const CLIENTS = 6
const RSS = 'process_resident_memory_bytes'
const LAG = 'nodejs_eventloop_lag_p99_seconds'
const chief = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: password }
const metricsToken = randomBytes(32).toString('base64url')

const megabytes = (bytes: number) => (bytes / 1_048_576).toFixed(0)

/** A request of the mix, and the statuses that it may get. */
type Act = (index: number) => readonly [string, string, (object | undefined)?, boolean?]

const mix: readonly Act[] = [
  () => ['GET', '/api/v1/artists?limit=20'],
  () => ['GET', '/api/v1/venues'],
  () => ['GET', '/api/v1/content?q=jazz'],
  () => ['GET', '/openapi.json'],
  (index) => [
    'POST',
    '/api/v1/venues',
    { name: `V ${index}`, city: 'C', country: 'DE', capacity: 1 },
    true,
  ],
  () => ['GET', '/api/v1/bookings', undefined, true],
  () => ['PATCH', '/api/v1/settings', { theme: 'dark' }, true],
  // Attacks.
  (index) => [
    'POST',
    '/api/v1/auth/login',
    { login: `user-${index % 500}@example.com`, password: 'guess' },
  ],
  () => ['GET', `/api/v1/content?q=${encodeURIComponent("' OR 1=1 --")}`],
  (index) => ['GET', `/backup-${index % 5000}.zip`],
  () => ['POST', '/api/v1/users', { email: '<script>', roles: ['admin'] }],
  () => ['GET', '/%zz'],
]

await t.test(`mixed load and attack for ${SECONDS} seconds`, { timeout: 0 }, async (t) => {
  const env = {
    DATA_DIR: createDataFolder(t),
    METRICS_TOKEN: metricsToken,
    TRUST_PROXY: '127.0.0.0/8',
    LOG_LEVEL: 'error',
    ...chief,
  }
  const server = await startServer(t, { ...env, LOG_LEVEL: 'info' })
  const login = { login: chief.ADMIN_EMAIL, password }
  const { body } = await ask(server.port, 'POST', '/api/v1/auth/login', { body: login })
  let token = String(body['access_token'])
  let refreshToken = String(body['refresh_token'])
  const started = monotonicSeconds()
  const elapsed = () => monotonicSeconds() - started
  const counts = new Map<number, number>()
  const times: number[] = []
  let early = 0
  let index = 0
  let refreshedAt = 0

  async function refresh(): Promise<void> {
    const answer = await ask(server.port, 'POST', '/api/v1/auth/refresh', {
      body: { refresh_token: refreshToken },
    })
    token = String(answer.body['access_token'])
    refreshToken = String(answer.body['refresh_token'])
  }
  async function step(client: number): Promise<void> {
    const number = index++
    const [method, path, payload, isUser = false] = mix[number % mix.length]!(number)
    // Many addresses: the limits of one address are not what is measured.
    const from = `127.${1 + client}.${(number >> 8) % 250}.${1 + (number % 250)}`
    const before = performance.now()
    const answer: FleetAnswer = await ask(server.port, method, path, {
      from,
      ...(payload === undefined ? undefined : { body: payload }),
      ...(isUser ? { token } : undefined),
    })
    // A bounded sample of the latest latencies.
    times[number % 50_000] = performance.now() - before
    counts.set(answer.status, (counts.get(answer.status) ?? 0) + 1)
  }
  async function work(client: number): Promise<void> {
    while (elapsed() < SECONDS) {
      if (client === 0 && elapsed() - refreshedAt > 300) {
        refreshedAt = elapsed()
        await refresh()
      }
      if (client === 0 && early === 0 && elapsed() > SECONDS / 10) {
        early = await readGauge(server.port, metricsToken, RSS)
      }
      await step(client)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, client) => work(client)))
  const late = await readGauge(server.port, metricsToken, RSS)
  t.comment(
    `${index} requests, ${[...counts].map(([status, count]) => `${status}: ${count}`).join(', ')}`,
  )
  const lag = await readGauge(server.port, metricsToken, LAG)
  t.comment(`event loop: p99 ${(lag * 1000).toFixed(0)} ms late`)
  t.ok(lag > 0)
  t.comment(
    `p50 ${percentile(times, 0.5)} ms, p99 ${percentile(times, 0.99)} ms, ` +
      `RSS ${megabytes(early)} MB after a tenth, ${megabytes(late)} MB at the end`,
  )
  t.equal(counts.get(500) ?? 0, 0, 'no answer is 500')
  t.ok((counts.get(200) ?? 0) > 0)
  t.equal(server.child.exitCode, null, 'the process runs')
  t.same(
    server.log.filter(({ level }) => Number(level) >= 60),
    [],
    'no fatal error',
  )
  // In a few seconds the compiler and the caches are still growing.
  if (SECONDS >= 600) t.ok(late < early * 1.1, 'the memory is flat within a tenth')
  t.equal(await server.end(), 0)
})
