/** Files of every style become an app. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { isCreatedHere, loadEntry } from '../src/http/load-entry.ts'

const home = fileURLToPath(new URL('./', import.meta.url))
const load = (url: string): Promise<unknown> => import(url)

/** Writes a file beside these tests, where it finds Fastify. */
function writeEntry(name: string, text: string): string {
  const path = join(home, '.entries', name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}

const ESM = "import Fastify from 'fastify'\n"
const CJS = "const Fastify = require('fastify')\n"
const ROUTE = "app.get('/found', async () => 'x')\n"

const STYLES: readonly (readonly [style: string, file: string, text: string])[] = [
  ['an app as default', 'a.mjs', `${ESM}const app = Fastify()\n${ROUTE}export default app`],
  [
    'an app by name',
    'b.mjs',
    `${ESM}export const server = Fastify()\nconst app = server\n${ROUTE}`,
  ],
  ['an app of CommonJS', 'c.cjs', `${CJS}const app = Fastify()\n${ROUTE}module.exports = app`],
  [
    'an app by name in CommonJS',
    'd.cjs',
    `${CJS}const app = Fastify()\n${ROUTE}module.exports = { app }`,
  ],
  ['a plugin', 'e.mjs', `export default async function (app, options) {\n${ROUTE}}`],
  [
    'a plugin of CommonJS with a callback',
    'f.cjs',
    `module.exports = function (app, options, done) {\n${ROUTE}done() }`,
  ],
  [
    'a plugin with options',
    'g.mjs',
    `export const options = { bodyLimit: 123 }\nexport default async (app) => {\n${ROUTE}}`,
  ],
  [
    'a plugin as compilers write it',
    'h.cjs',
    `Object.defineProperty(exports, '__esModule', { value: true })\nexports.default = async function (app, options) {\n${ROUTE}}`,
  ],
  [
    'a factory without parameters',
    'i.mjs',
    `${ESM}export default () => { const app = Fastify()\n${ROUTE}return app }`,
  ],
  [
    'a factory with options',
    'j.mjs',
    `${ESM}export default async function build(opts = {}) { const app = Fastify(opts)\n${ROUTE}return app }`,
  ],
  [
    'a factory with members',
    'k.mjs',
    `${ESM}export async function buildApp({ logger = false } = {}) { const app = Fastify({ logger })\n${ROUTE}return app }`,
  ],
  [
    'a factory by name in CommonJS',
    'l.cjs',
    `${CJS}function build(opts = {}) { const app = Fastify(opts)\n${ROUTE}return app }\nmodule.exports = { build }`,
  ],
  [
    'a script that awaits listen',
    'm.mjs',
    `${ESM}const app = Fastify()\n${ROUTE}const at = await app.listen({ port: 1 })\nif (!at.startsWith('http')) throw new Error('no address')`,
  ],
  [
    'a script that listens with a callback',
    'n.cjs',
    `${CJS}const app = Fastify()\n${ROUTE}app.listen({ port: 1 }, (error, at) => { if (error) throw error })`,
  ],
  [
    'a script that listens later',
    'o.cjs',
    `${CJS}async function start() { const app = Fastify()\nawait new Promise(setImmediate)\n${ROUTE}await app.listen({ port: 1 }) }\nstart()`,
  ],
]

for (const [style, file, text] of STYLES) {
  await t.test(`${style} is found, and opens no port of its own`, async (t) => {
    const app = await loadEntry(writeEntry(file, text), load)
    t.after(() => app.close())
    t.equal((await app.inject('/found')).body, 'x')
    const address = app.server.address() as AddressInfo | null
    if (style.startsWith('a script')) t.match(address, { address: '127.0.0.1' })
    else t.equal(address, null)
    t.not(address?.port, 1, 'not the port of the script')
    if (file === 'g.mjs') t.equal(app.initialConfig.bodyLimit, 123)
    t.equal(isCreatedHere(app), /plugin/.test(style))
  })
}

await t.test(
  'an app that is never ready, and a factory that never returns, are refused',
  async (t) => {
    const never = 'new Promise(() => {})'
    for (const [file, text] of [
      [
        'never.mjs',
        `${ESM}const app = Fastify({ pluginTimeout: 0 })\napp.register(() => ${never})\nexport default app`,
      ],
      ['stuck.mjs', `export const build = () => ${never}`],
      ['import.mjs', `await ${never}`],
    ] as const) {
      await t.rejects(loadEntry(writeEntry(file, text), load, 20), {
        code: 'PARAPET_POSTURE_NOT_READY',
        message: new RegExp(`${file} was not ready within 0\\.02 s`),
      })
    }
  },
)

await t.test('a file without an app is refused, and its own error is passed on', async (t) => {
  const empty = writeEntry('empty.mjs', 'export const a = 1')
  await t.rejects(loadEntry(empty, load), {
    code: 'PARAPET_POSTURE_NO_APP',
    message: /it exports no plugin/,
  })
  const broken = writeEntry(
    'broken.mjs',
    `${ESM}export default async function (app) { throw new Error('no database') }`,
  )
  await t.rejects(loadEntry(broken, load), { message: 'no database' })
  const listening = writeEntry(
    'late.cjs',
    `${CJS}const app = Fastify()\napp.register(async () => { throw new Error('no cache') })\napp.listen({ port: 1 }, () => {})`,
  )
  await t.rejects(loadEntry(listening, load), { message: 'no cache' })
})
