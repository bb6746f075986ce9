/** The attack demo: every attack on a fresh server is stopped, and the exit code says so. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { plainNode } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { send } from './support/client.ts'
import { startServer } from './support/server-process.ts'
import { calm, createDataFolder, createMemoryLog } from './support/test-app.ts'

const main = fileURLToPath(new URL('../attack/main.ts', import.meta.url))

function run(args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  const [node, given] = plainNode([main, ...args])
  return new Promise((resolve) => {
    const child = execFile(node, given, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, text: stdout + stderr })
    })
  })
}

await t.test('the campaign is stopped at every step', async (t) => {
  const { code, text } = await run([])
  t.equal(code, 0, text)
  t.match(text, /18\/18 ██████████ Edited audit record/)
  t.match(text, /^18 stopped, 0 failed, 0 skipped in \d+\.\d s$/m)
  t.notMatch(text, 'FAILED')
})

await t.test('a server that cannot be reached is a failure, not a success', async (t) => {
  const { code, text } = await run(['--url', 'http://127.0.0.1:1', '--data', t.testdir()])
  t.not(code, 0)
  t.match(text, 'has no password of the demo user')
})

await t.test('an interrupted campaign undoes what it changed on a running server', async (t) => {
  const DATA_DIR = createDataFolder(t)
  const config = readConfig({ ...calm, DATA_DIR, TRUST_PROXY: '127.0.0.1/32' })
  const app = await buildApp(config, { log: createMemoryLog().log })
  t.after(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const before = await stateOf(app)
  const [node, given] = plainNode([main, '--url', url, '--data', DATA_DIR])
  const child = spawn(node, given, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
    // By then, rules enforce, addresses are blocked, and somebody has registered.
    if (!child.killed && text.includes('SQL injection')) child.kill('SIGINT')
  })
  const [code] = (await once(child, 'close')) as [number | null]
  t.equal(code, 1, text)
  t.match(text, 'what the campaign changed is undone')
  t.notMatch(text, /FAILED|18\/18/)
  t.same(await stateOf(app), before)
})

async function stateOf({ anomaly, sql }: FastifyInstance) {
  const { rows } = await sql.query('SELECT email FROM users ORDER BY email')
  const modes = anomaly.rules.map(({ name }) => [name, anomaly.impact(name).mode])
  return { modes, rows, contained: anomaly.contain.list().map(({ target }) => target) }
}

await t.test('a server that would block the address of this machine is not attacked', async (t) => {
  const DATA_DIR = createDataFolder(t)
  const server = await startServer(t, { DATA_DIR })
  const { code, text } = await run(['--url', server.url, '--data', DATA_DIR])
  t.equal(code, 1, text)
  t.match(text, 'nothing was attacked: to the server, every attack would come from 127.0.0.1')
  t.equal((await send(server, 'GET', '/api/v1/artists')).status, 200)
})
