import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { plainNode } from '@parapet/testing'
import t from 'tap'

const run = promisify(execFile)

/** Prints the URL of each module that a process loads. */
const HOOKS = `data:text/javascript,${encodeURIComponent(`
  import { writeSync } from 'node:fs'
  export async function load(url, context, next) {
    writeSync(1, url + '\\n')
    return next(url, context)
  }`)}`

/**
 * What a process loads for an app with these options: packages below node_modules by name, and files of
 * this package by their path below `src`.
 */
async function loadedBy(options: string, more = ''): Promise<ReadonlySet<string>> {
  const script = `
    import { register } from 'node:module'
    register(${JSON.stringify(HOOKS)})
    const { default: mfa, generateCipherKey } = await import('@parapet/mfa')
    const { default: Fastify } = await import('fastify')
    const app = Fastify()
    await app.register(mfa, { issuer: 'Acme', keys: generateCipherKey(), ${options} })
    await app.ready()
    ${more}
    await app.close()`
  const [file, args] = plainNode(['--input-type=module', '--eval', script])
  const cwd = fileURLToPath(new URL('..', import.meta.url))
  const { stdout } = await run(file, args, { cwd, maxBuffer: 10_000_000 })
  const names = stdout.matchAll(/\/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\/(?!.*\/node_modules\/)/g)
  const files = stdout.matchAll(/\/packages\/mfa\/src\/(\S+)/g)
  return new Set([...names, ...files].map(([, name]) => name!))
}

await t.test(
  'an app without passkeys loads no library for them, and no schema builder',
  async (t) => {
    const loaded = await loadedBy('')
    t.ok(loaded.has('otpauth') && loaded.has('totp/totp-code.ts'), 'the names are seen')
    for (const name of [
      '@simplewebauthn/server',
      '@sinclair/typebox',
      'qrcode',
      'passkeys/passkeys.ts',
      'passkeys/webauthn-registration.ts',
      'passkeys/webauthn-authentication.ts',
      'totp/qr-code.ts',
    ]) {
      t.notOk(loaded.has(name), name)
    }
  },
)

await t.test('the library is loaded at boot if passkeys are configured', async (t) => {
  const loaded = await loadedBy(`passkeys: { rpId: 'a.test', origins: ['https://a.test'] }`)
  t.ok(loaded.has('@simplewebauthn/server'))
  t.notOk(loaded.has('@sinclair/typebox'))
})

await t.test('the encoder of QR codes is loaded by the first enrolment', async (t) => {
  const loaded = await loadedBy('', `await app.mfa.totp.begin({ id: 'a', name: 'a' })`)
  t.ok(loaded.has('qrcode'))
})
