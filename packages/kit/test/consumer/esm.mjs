// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import {
  createLocalCipher,
  generateCipherKey,
  parseCipherKeys,
  problemErrorHandler,
  usePrincipal,
} from '@parapet/kit'
import Fastify from 'fastify'

const cipher = createLocalCipher(parseCipherKeys(generateCipherKey()))
const sealed = await cipher.seal('secret', ['example', 'row 1'])
assert.equal((await cipher.open(sealed, ['example', 'row 1'])).toString(), 'secret')
await assert.rejects(cipher.open(sealed, ['example', 'row 2']), {
  code: 'PARAPET_KIT_CIPHER_OPEN_FAILED',
})

const app = Fastify()
app.setErrorHandler(problemErrorHandler)
const principalOf = usePrincipal(app, () => ({ id: 'u1', roles: 'editor admin' }))
app.get('/', async (request) => principalOf(request))
const reply = await app.inject('/')
assert.equal(reply.statusCode, 500)
assert.equal(reply.json().code, 'PARAPET_KIT_INVALID_PRINCIPAL')
await app.close()
