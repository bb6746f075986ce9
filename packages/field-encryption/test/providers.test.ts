import { execFileSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KMSClient } from '@aws-sdk/client-kms'
import {
  createAwsKmsProvider,
  createLocalProvider,
  createPkcs11Provider,
  createVaultProvider,
  exportKeyset,
  generateKeyset,
  lockKeyset,
  type KeyProvider,
} from '@parapet/field-encryption'
import t, { type Test } from 'tap'
import { createAead } from '../src/crypto/aead.ts'
import { parseEncryptedKeyset } from '../src/crypto/encrypted-keyset.ts'
import { openEnvelope } from '../src/providers/envelope.ts'
import { probe } from '../src/providers/provider.ts'
import { buildManaged, code, openFailed, readSpec, rootKeyset } from './fixtures.ts'

/** @param refused the error for a wrong context or changed bytes */
async function checkProvider(
  t: Test,
  provider: KeyProvider,
  refused: { code: string } | { name: string } | { message: RegExp },
): Promise<void> {
  const dataKey = randomBytes(32)
  const context = { purpose: 'test', tenant: 'acme' }
  const wrapped = await provider.wrap(dataKey, context)
  t.notOk(Buffer.from(wrapped).includes(dataKey))
  t.ok(Buffer.from(await provider.unwrap(wrapped, context)).equals(dataKey))
  await t.rejects(provider.unwrap(wrapped, { purpose: 'test', tenant: 'globex' }), refused)
  await t.rejects(provider.unwrap(wrapped, { purpose: 'test', tenant: '' }), refused)
  const damaged = Buffer.from(wrapped)
  damaged[damaged.length >> 1]! ^= 1
  await t.rejects(provider.unwrap(damaged, context), refused)
  await t.rejects(provider.unwrap(Buffer.alloc(3), context), refused)
  await t.resolves(provider.health())
  const { notes } = await buildManaged(t, { provider })
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  t.equal((await notes.decryptRecord(row)).text, 'x')
}

await t.test('the local provider reads a variable, a file and a locked keyset', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'keyset.json')
  const passphrase = 'correct horse battery staple'
  await checkProvider(t, createLocalProvider({ keyset: rootKeyset }), code('OPEN_FAILED'))
  const late = createLocalProvider({ file, passphrase })
  const missing = await t.rejects(late.health(), code('INVALID_KEYSET'))
  t.match(String(missing), /keyset.json" cannot be read \(ENOENT\)/)
  writeFileSync(file, await lockKeyset(rootKeyset, passphrase))
  await checkProvider(t, late, code('OPEN_FAILED'))
  const wrong = createLocalProvider({ file, passphrase: 'another passphrase' })
  await t.rejects(wrong.health(), code('OPEN_FAILED'))
  await t.rejects(
    createLocalProvider({ file, passphrase: 'short' }).health(),
    code('INVALID_ARGUMENT'),
  )
  const unlocked = createLocalProvider({ keyset: rootKeyset, passphrase })
  await t.rejects(unlocked.health(), code('INVALID_KEYSET'), 'it is not locked')
  const name = `PARAPET_TEST_${randomUUID().replaceAll('-', '')}`
  const env = createLocalProvider({ env: name })
  await t.rejects(env.health(), code('INVALID_KEYSET'))
  process.env[name] = rootKeyset
  t.after(() => delete process.env[name])
  await t.resolves(env.health())
  t.throws(() => createLocalProvider({}), code('INVALID_ARGUMENT'))
  t.throws(() => createLocalProvider({ file, env: name }), code('INVALID_ARGUMENT'))
})

/** Reads the JSON body of a request. */
async function bodyOf(request: AsyncIterable<Uint8Array>): Promise<Record<string, unknown>> {
  const pieces: Uint8Array[] = []
  for await (const piece of request) pieces.push(piece)
  const text = Buffer.concat(pieces).toString()
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function send(response: ServerResponse, status: number, data: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data))
}

async function listen(t: Test, server: Server): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => void server.close(() => resolve()))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Starts a server with the documented API of Transit. It seals with this package's AEAD. */
async function startTransit(t: Test): Promise<string> {
  const aead = createAead(generateKeyset())
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request)
      if (request.headers['x-vault-token'] !== 't0ken')
        return send(response, 403, { errors: ['denied'] })
      if (request.headers['x-vault-namespace'] !== 'team')
        return send(response, 404, { errors: [] })
      const ad = Buffer.from(textOf(body['associated_data']), 'base64')
      if (request.url === '/v1/transit/encrypt/orders') {
        const plain = Buffer.from(String(body['plaintext']), 'base64')
        const ciphertext = `vault:v1:${aead.seal(plain, ad).toString('base64')}`
        return send(response, 200, { data: { ciphertext, key_version: 1 } })
      }
      if (request.url === '/v1/transit/decrypt/orders') {
        const sealed = Buffer.from(String(body['ciphertext']).slice(9), 'base64')
        const plain = aead.tryOpen(sealed, ad)
        if (plain === undefined)
          return send(response, 400, { errors: ['cipher: message authentication failed'] })
        return send(response, 200, { data: { plaintext: plain.toString('base64') } })
      }
      // A policy for encryption alone has no `read` on the key.
      if (request.url === '/v1/transit/keys/orders') return send(response, 403, { errors: [] })
      return send(response, 404, { errors: [] })
    })()
  })
  return listen(t, server)
}

await t.test(
  "Vault's Transit engine wraps keys, and its refusals are 503 without details",
  async (t) => {
    const address = await startTransit(t)
    const options = { address, key: 'orders', namespace: 'team' }
    const unavailable = code('KEY_UNAVAILABLE', 503)
    const vault = createVaultProvider({ ...options, token: async () => 't0ken' })
    await checkProvider(t, vault, unavailable)
    await t.rejects(createVaultProvider({ ...options, token: 'wrong' }).health(), unavailable)
    await t.rejects(
      createVaultProvider({ ...options, key: 'other', token: 't0ken' }).health(),
      unavailable,
    )
    const argument = code('INVALID_ARGUMENT')
    for (const bad of [
      'http://vault.example',
      'ftp://127.0.0.1',
      'vault',
      'http://127.0.0.1.example',
    ]) {
      t.throws(() => createVaultProvider({ ...options, token: 'x', address: bad }), argument, bad)
    }
    t.throws(() => createVaultProvider({ ...options, token: 'x', key: '../sys' }), argument)
    t.throws(() => createVaultProvider({ ...options, token: 'x', mount: 'a/../b' }), argument)
  },
)

/** Starts a server with the JSON 1.1 API of KMS for data keys. */
async function startKms(t: Test): Promise<{ url: string; calls: string[] }> {
  const aead = createAead(generateKeyset())
  const calls: string[] = []
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request)
      const target = String(request.headers['x-amz-target']).replace('TrentService.', '')
      calls.push(target)
      const invalid = () =>
        send(response, 400, { __type: 'InvalidCiphertextException', message: '' })
      if (body['KeyId'] !== 'alias/parapet')
        return send(response, 400, { __type: 'NotFoundException' })
      const context = (body['EncryptionContext'] ?? {}) as Record<string, string>
      if (Object.values(context).includes(''))
        return send(response, 400, { __type: 'ValidationException' })
      const ad = Buffer.from(
        JSON.stringify(
          Object.entries(context)
            .flat()
            .toSorted((a, b) => (a < b ? -1 : 1)),
        ),
      )
      const seal = (plain: Buffer) => aead.seal(plain, ad).toString('base64')
      if (target === 'GenerateDataKey') {
        const plain = randomBytes(32)
        return send(response, 200, {
          Plaintext: plain.toString('base64'),
          CiphertextBlob: seal(plain),
        })
      }
      if (target === 'Encrypt') {
        return send(response, 200, {
          CiphertextBlob: seal(Buffer.from(String(body['Plaintext']), 'base64')),
        })
      }
      if (target === 'Decrypt') {
        const sealed = Buffer.from(String(body['CiphertextBlob']), 'base64')
        const plain = aead.tryOpen(sealed, ad)
        return plain === undefined
          ? invalid()
          : send(response, 200, { Plaintext: plain.toString('base64') })
      }
      return send(response, 400, { __type: 'AccessDeniedException' })
    })()
  })
  return { url: await listen(t, server), calls }
}

await t.test("AWS KMS creates and opens data keys, with Amazon's own client", async (t) => {
  const { url, calls } = await startKms(t)
  const client = new KMSClient({
    endpoint: url,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    maxAttempts: 1,
  })
  t.after(() => client.destroy())
  const invalid = { name: 'InvalidCiphertextException' }
  await checkProvider(t, createAwsKmsProvider({ client, keyId: 'alias/parapet' }), invalid)
  t.same([...new Set(calls)].toSorted(), ['Decrypt', 'Encrypt', 'GenerateDataKey'])
  const other = createAwsKmsProvider({ client, keyId: 'alias/other' })
  await t.rejects(other.health(), { name: 'NotFoundException' })
})

const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'

await t.test('a PKCS#11 token wraps keys with a key that is not extractable', async (t) => {
  const addon = await import('pkcs11js').catch(() => null)
  if (addon === null || !existsSync(SOFTHSM)) {
    const message = 'SoftHSM2 and the addon pkcs11js'
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(`no ${message}`)
    else t.pass(`needs ${message}`, { skip: 'not installed' })
    return
  }
  const folder = mkdtempSync(join(tmpdir(), 'parapet-hsm-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const conf = join(folder, 'softhsm2.conf')
  writeFileSync(conf, `directories.tokendir = ${folder}\nlog.level = ERROR\n`)
  process.env['SOFTHSM2_CONF'] = conf
  const init = ['--init-token', '--free', '--label', 'parapet', '--pin', '1234', '--so-pin', '5678']
  execFileSync('/usr/bin/softhsm2-util', init, { stdio: 'ignore' })
  const options = { library: SOFTHSM, tokenLabel: 'parapet', pin: '1234', keyLabel: 'root' }
  const missing = createPkcs11Provider(options)
  await t.rejects(missing.health(), code('INVALID_ARGUMENT'), 'no such key')
  const provider = createPkcs11Provider({ ...options, createKey: true })
  // SoftHSM does not tell a wrong tag from other failures; too short a value never reaches it.
  const message = /^(?:CKR_GENERAL_ERROR|The encrypted value cannot be opened)$/
  await checkProvider(t, provider, { message })
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, i) => provider.wrap(Buffer.alloc(32, i), { i: `${i}` })),
  )
  for (const [i, wrapped] of many.entries()) {
    t.equal(
      (await provider.unwrap(wrapped, { i: `${i}` }))[0],
      i,
      'concurrent operations are queued',
    )
  }
  await provider.close()
  await t.rejects(
    createPkcs11Provider({ ...options, tokenLabel: 'other' }).health(),
    code('INVALID_ARGUMENT'),
  )
  const wrongPin = createPkcs11Provider({ ...options, pin: '0000' })
  await t.rejects(wrongPin.health(), { message: 'CKR_PIN_INCORRECT' })
  t.same(provider.describe(), { id: 'pkcs11:parapet/root', exportable: false })
})

await t.test('health tells a provider that never answers, or that answers wrongly', async (t) => {
  const { service, state, clock } = await buildManaged(t)
  await t.resolves(service.health())
  state.hang = true
  const waiting = service.health()
  const late = t.rejects(waiting, code('KEY_UNAVAILABLE', 503))
  clock.advance(5000)
  await late
  const broken = { wrap: async () => Buffer.alloc(3), unwrap: async () => Buffer.alloc(32) }
  await t.rejects(probe(broken), code('KEY_UNAVAILABLE', 503))
})

await t.test('the vectors of docs/spec/key-record.md pass', async (t) => {
  const { provider, cases } = readSpec<{
    provider: { local: object }
    cases: { name: string; tenant: string; record: object; keyset?: object }[]
  }>('key-record')
  const local = createLocalProvider({ keyset: JSON.stringify(provider.local) })
  for (const { name, tenant, record, keyset } of cases) {
    const context = { purpose: 'parapet-field-encryption', tenant }
    const read = parseEncryptedKeyset(JSON.stringify(record), (bytes) =>
      openEnvelope(local, bytes, context),
    )
    if (keyset === undefined) await t.rejects(read, openFailed, name)
    else t.same(JSON.parse(exportKeyset(await read)), keyset, name)
  }
})
