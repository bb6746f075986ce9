/** What importing the package loads. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { plainNode } from '@parapet/testing'
import t from 'tap'

/** Reports every module that is loaded. */
const LOADER = `data:text/javascript,${encodeURIComponent(`
  import { writeSync } from 'node:fs'
  export async function load(url, context, next) {
    writeSync(1, url + '\\n')
    return next(url, context)
  }`)}`

async function loadedBy(script: string): Promise<string> {
  const code = `
    import { register } from 'node:module'
    register(${JSON.stringify(LOADER)}, import.meta.url)
    ${script}`
  const [file, args] = plainNode(['--input-type=module', '--eval', code])
  const cwd = new URL('.', import.meta.url)
  return (await promisify(execFile)(file, args, { cwd, maxBuffer: 2 ** 26 })).stdout
}

const app = `
  const { default: Fastify } = await import('fastify')
  const { default: sessions, generateKey, generateSecret } = await import('@parapet/sessions')
  const app = Fastify()
  const base = {
    issuer: 'https://a.example',
    audience: 'a',
    keys: { current: generateKey(null) },
    secrets: [generateSecret()],
    prefix: '/auth',
  }`

await t.test('libraries are loaded only when an option asks for them', async (t) => {
  const lazy =
    /node_modules\/(@node-rs\/argon2|openid-client|@fastify\/cookie|@sinclair\/typebox)\//
  const plain = await loadedBy(`${app}
    await app.register(sessions, base)
    await app.ready()
    await app.close()`)
  t.match(plain, 'fast-jwt', 'the loader sees what is loaded')
  t.notMatch(plain, lazy)
  const cookies = await loadedBy(`${app}
    await app.register(sessions, { ...base, cookies: {} })
    await app.close()`)
  t.match(cookies, '@fastify/cookie')
  const hashed = await loadedBy(`${app}
    const { hashPassword } = await import('@parapet/sessions')
    await hashPassword('x')`)
  t.match(hashed, '@node-rs/argon2')
})
