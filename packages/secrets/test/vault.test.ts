import { createManualClock, systemClock, type ManualClock } from '@parapet/kit'
import {
  allowPlainHttp,
  createVaultClient,
  createVaultDatabaseProvider,
  createVaultKvProvider,
  type VaultOptions,
} from '@parapet/secrets'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import nodeVault from 'node-vault'
import t, { type Test } from 'tap'
import { startVault, type VaultServer } from './vault-server.ts'

interface Opened {
  readonly vault: VaultServer
  readonly clock: ManualClock
  readonly errors: unknown[]
  readonly connect: (options?: Partial<VaultOptions>) => ReturnType<typeof createVaultClient>
}

async function open(t: Test): Promise<Opened> {
  const clock = createManualClock()
  const vault = await startVault(t, clock)
  const errors: unknown[] = []
  const mixed = {
    now: clock.now,
    // Pauses between attempts are real, as the network is.
    schedule: (ms: number, task: () => void) =>
      ms < 6000 ? systemClock.schedule(Math.min(ms, 50), task) : clock.schedule(ms, task),
  }
  const connect: Opened['connect'] = (options = {}) => {
    const client = createVaultClient({
      address: vault.url,
      auth: { appRole: vault.appRole },
      clock: mixed,
      onError: (error) => errors.push(error),
      deadlineMs: 30_000,
      ...options,
    })
    t.after(() => client.close())
    return client
  }
  return { vault, clock, errors, connect }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let count = 0; count < 2000; count++) {
    if (await condition()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`it did not happen: ${condition.toString()}`)
}

interface Reply {
  readonly data?: unknown
  readonly auth?: { readonly client_token: string }
}

/** The calls of node-vault that are used; its own types say "any". */
type Independent = { token: string } & Record<
  'read' | 'list' | 'delete',
  (path: string) => Promise<Reply>
> &
  Record<'health' | 'tokenLookupSelf' | 'tokenRenewSelf', () => Promise<Reply>> & {
    approleLogin: (body: object) => Promise<Reply>
    write: (path: string, body: object) => Promise<Reply>
  }

await t.test('node-vault, an independent client, understands the contract server', async (t) => {
  const { vault, connect } = await open(t)
  const independent = nodeVault({
    endpoint: vault.url,
    apiVersion: 'v1',
    // Node's HTTP server does not know the method LIST; Vault takes ?list=true as well.
    noCustomHTTPVerbs: true,
  }) as unknown as Independent
  t.match(await independent.health(), { initialized: true, sealed: false })
  const { auth } = await independent.approleLogin({
    role_id: vault.appRole.roleId,
    secret_id: vault.appRole.secretId,
  })
  t.match(auth, { client_token: /^hvs\./, lease_duration: 3600, renewable: true })
  independent.token = auth!.client_token
  t.match((await independent.tokenLookupSelf()).data, { ttl: 3600, policies: ['default', 'app'] })
  t.match((await independent.tokenRenewSelf()).auth, { lease_duration: 3600 })
  await t.rejects(independent.read('secret/data/app/db'), { message: 'Status 404' })

  const written = await independent.write('secret/data/app/db', {
    data: { password: 'from node-vault' },
    options: { cas: 0 },
  })
  t.match(written.data, { version: 1 })
  const provider = createVaultKvProvider(connect())
  t.match(await provider.read('app/db#password'), { value: 'from node-vault', version: '1' })
  t.equal(await provider.writeRecord('app/db', { password: 'from parapet' }, '1'), '2')
  const read = await independent.read('secret/data/app/db')
  t.match(read.data, { data: { password: 'from parapet' }, metadata: { version: 2 } })
  await t.rejects(independent.write('secret/data/app/db', { data: {}, options: { cas: 1 } }), {
    message: /check-and-set/,
  })
  t.match((await independent.list('secret/metadata/app')).data, { keys: ['db'] })
  await independent.delete('secret/data/app/db')
  await t.rejects(provider.read('app/db#password'), { code: 'PARAPET_SECRETS_NOT_FOUND' })
  t.equal(await provider.readRecord('app/db'), null)
  t.equal(await provider.writeRecord('app/db', { password: 'again' }, null), '3')

  const lease = await independent.read('database/creds/app')
  t.match(lease, { lease_id: /^database\/creds\/app\//, lease_duration: 3600, renewable: true })
  t.match(lease.data, { username: /^v-app-/, password: String })
})

await t.test('KV: records, members, metadata, expiry, and check-and-set', async (t) => {
  const { vault, connect } = await open(t)
  const provider = createVaultKvProvider(connect({ namespace: 'team-a' }))
  const conflict = { code: 'PARAPET_SECRETS_CONFLICT', statusCode: 409 }
  t.equal(await provider.readRecord('app/key'), null)
  t.equal(await provider.writeRecord('app/key', { value: 'one' }, null), '1')
  await t.rejects(provider.writeRecord('app/key', { value: 'two' }, null), conflict)
  const writers = ['a', 'b', 'c'].map((value) => provider.writeRecord('app/key', { value }, '1'))
  const outcomes = await Promise.allSettled(writers)
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const outcome of outcomes)
    if (outcome.status === 'rejected') t.match(outcome.reason, conflict)
  t.match(await provider.read('app/key'), { version: '2' }, 'one member needs no #')
  await t.rejects(provider.read('app/key#other'), {
    code: 'PARAPET_SECRETS_NOT_FOUND',
    statusCode: 503,
  })
  const expires_at = '2030-01-01T00:00:00Z'
  await provider.writeMetadata('app/key', { owner: 'payments', expires_at })
  t.match(await provider.read('app/key'), { expiresAt: Date.parse(expires_at) })
  t.match(await provider.readMetadata('app/key'), {
    currentVersion: 2,
    casRequired: false,
    custom: { owner: 'payments' },
  })
  await t.rejects(provider.readMetadata('app/none'), { code: 'PARAPET_SECRETS_NOT_FOUND' })
  for (const path of ['../sys/raw', 'a/../../b', 'a//b', 'a?b', '']) {
    await t.rejects(provider.read(path), { code: 'PARAPET_SECRETS_PROVIDER_FAILED' }, path)
  }
  t.ok(vault.headers.every((headers) => headers['x-vault-namespace'] === 'team-a'))
  t.ok(vault.headers.every((headers) => headers['x-vault-request'] === 'true'))
  t.equal(vault.requests.filter((line) => line.includes('login')).length, 1)
})

await t.test('tokens are renewed, replaced at their maximum, and after a revocation', async (t) => {
  const { vault, clock, connect } = await open(t)
  vault.kv.set('k', {
    versions: [{ data: { value: 'v' }, created: '', deleted: '', destroyed: false }],
    custom: null,
    casRequired: false,
  })
  vault.tokenMaxTtlSeconds = 6000
  const provider = createVaultKvProvider(connect())
  const count = (line: string) => vault.requests.filter((each) => each === line).length
  await Promise.all([provider.read('k'), provider.read('k'), provider.read('k')])
  t.equal(count('POST auth/approle/login'), 1, 'concurrent reads share one login')
  clock.advance(2_400_000)
  await until(() => count('POST auth/token/renew-self') === 1)
  await provider.read('k')
  clock.advance(2_400_000)
  await until(() => count('POST auth/token/renew-self') === 2)
  // The maximum is near: renewals get shorter, then a login replaces the token.
  await until(async () => {
    clock.advance(100_000)
    await provider.read('k')
    return count('POST auth/approle/login') === 2
  })
  vault.revokeTokens()
  t.match(await provider.read('k'), { value: 'v' })
  t.equal(count('POST auth/approle/login'), 3)
  vault.revokeTokens()
  await Promise.all([provider.read('k'), provider.read('k')])
  await provider.close!()
})

await t.test('a given token, and the token of a pod', async (t) => {
  const { vault, clock, connect } = await open(t)
  vault.kv.set('k', {
    versions: [{ data: { value: 'v' }, created: '', deleted: '', destroyed: false }],
    custom: null,
    casRequired: false,
  })
  const ttl = { renewable: true, ttlSeconds: 600, expiresAt: clock.now() + 600_000 }
  const token = vault.createToken({ ...ttl, maxExpiresAt: Infinity })
  const given = createVaultKvProvider(connect({ auth: { token } }))
  t.match(await given.read('k'), { value: 'v' })
  clock.advance(400_000)
  await until(() => vault.requests.includes('POST auth/token/renew-self'))
  vault.revokeTokens()
  await t.rejects(given.read('k'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED', statusCode: 503 })

  const folder = t.testdir({})
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, 'pod.jwt.1\n')
  const pod = createVaultKvProvider(connect({ auth: { kubernetes: { role: 'app', tokenFile } } }))
  t.match(await pod.read('k'), { value: 'v' })
  const absent = { kubernetes: { role: 'app', tokenFile: join(folder, 'none') } }
  const none = createVaultKvProvider(connect({ auth: absent }))
  await t.rejects(none.read('k'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED', message: /ENOENT/ })
  const wrong = { appRole: { roleId: 'wrong', secretId: 'wrong-secret-id' } }
  const refused = createVaultKvProvider(connect({ auth: wrong }))
  const error = await refused.read('k').catch((failure: Error) => failure)
  t.match(error, { code: 'PARAPET_SECRETS_PROVIDER_FAILED', message: /invalid role/ })
  t.notMatch((error as Error).message, /wrong-secret-id/)
})

await t.test('a request is retried, has a deadline, and follows no redirect', async (t) => {
  const { vault, connect } = await open(t)
  const provider = createVaultKvProvider(connect({ auth: { token: vault.rootToken } }))
  await provider.writeRecord('k', { value: 'v' }, null)
  vault.fail(503)
  vault.fail(429)
  vault.fail(0)
  t.match(await provider.read('k'), { value: 'v' })
  vault.fail(500, 4)
  await t.rejects(provider.read('k'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED', message: /500/ })
  vault.fail(0, 4)
  await t.rejects(provider.read('k'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED' })
  const hasty = createVaultKvProvider(
    connect({ auth: { token: vault.rootToken }, deadlineMs: 300, clock: systemClock }),
  )
  await hasty.read('k')
  vault.fail(-1)
  await t.rejects(hasty.read('k'), {
    code: 'PARAPET_SECRETS_PROVIDER_TIMEOUT',
    statusCode: 503,
    message: /within 300 ms/,
  })

  let received = 0
  const server = createServer((request, response) => {
    received++
    if (request.url?.includes('moved') === true) response.writeHead(307, { location: vault.url })
    response.end('not JSON: s3cret-answer')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const other = createVaultClient({ address, auth: { token: 'x' }, retries: 0 })
  const before = vault.requests.length
  await t.rejects(other.ask({ method: 'GET', path: 'moved' }))
  t.equal(vault.requests.length, before)
  const failure = await other.askOpenly({ method: 'GET', path: 'a' }).catch(String)
  t.match(failure, /not JSON/)
  t.notMatch(failure, /s3cret-answer/)
  t.ok(received > 0)
})

await t.test(
  'database accounts: one lease, renewed, replaced before its maximum, revoked',
  async (t) => {
    const { vault, clock, connect, errors } = await open(t)
    const provider = createVaultDatabaseProvider(connect())
    const [username, password] = await Promise.all([
      provider.read('app#username'),
      provider.read('app#password'),
    ])
    t.equal(username.version, password.version, 'both members are of one lease')
    t.equal(username.expiresAt, clock.now() + 3_600_000)
    const whole = await provider.read('app')
    t.same(JSON.parse(whole.value), { username: username.value, password: password.value })
    let changes = 0
    const stop = provider.watch!(() => changes++)
    const renewals = () => vault.requests.filter((line) => line === 'PUT sys/leases/renew').length
    clock.advance(2_400_000)
    await until(() => renewals() === 1)
    await until(async () => {
      clock.advance(600_000)
      await new Promise((resolve) => setTimeout(resolve, 2))
      return changes > 0
    })
    t.ok(vault.accounts().includes(username.value), 'the former account still works')
    const next = await provider.read('app#username')
    t.not(next.value, username.value)
    t.ok(vault.accounts().includes(username.value))
    stop()
    await t.rejects(provider.read('none'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED' })
    await t.rejects(provider.read('app#other'), { code: 'PARAPET_SECRETS_NOT_FOUND' })
    await provider.close!()
    t.same(vault.accounts(), [])
    t.same(errors, [])
  },
)

await t.test(
  'the inspection reports what the token may do, and a Vault that is not ready',
  async (t) => {
    const { vault, connect } = await open(t)
    const inspect = async (auth: VaultOptions['auth'], ...paths: string[]) => {
      const found = await createVaultKvProvider(connect({ auth })).inspect!(paths)
      return found.map(({ severity, problem }) => `${severity}: ${problem}`)
    }
    const { appRole } = vault
    vault.capabilities.set('secret/data/app/a', ['read'])
    vault.capabilities.set('secret/data/app/b', ['read', 'delete'])
    t.same(await inspect({ appRole }, 'app/a#x'), [])
    t.match(await inspect({ appRole }, 'app/b', 'app/c'), [
      'warning: the token may delete secret/data/app/b',
      'error: the token may not read secret/data/app/c',
    ])
    t.match(await inspect({ token: vault.rootToken }, 'app/a'), [
      'error: the token has the policy "root"',
      'warning: the token never expires',
      'error: the token may do everything at secret/data/app/a',
    ])
    const database = createVaultDatabaseProvider(connect())
    t.match(await database.inspect!(['app#username', 'app#password']), [
      { problem: 'the token may not read database/creds/app' },
    ])
    vault.sealed = true
    t.match(await inspect({ appRole }, 'app/a'), ['error: Vault is not ready (status 503)'])
    const away = createVaultClient({
      address: 'http://127.0.0.1:9',
      auth: { token: 'x' },
      retries: 0,
    })
    t.match(await createVaultKvProvider(away).inspect!(['a']), [
      { severity: 'error', problem: /cannot be reached/ },
    ])
  },
)

await t.test('a token is never sent in clear text over the network', async (t) => {
  const auth = { token: 'x' }
  const code = 'PARAPET_SECRETS_INVALID_OPTION'
  const plain = { address: 'http://vault.example.org:8200', auth }
  t.throws(() => createVaultClient(plain), { code, message: /https/ })
  createVaultClient({ ...plain, [allowPlainHttp]: true })
  for (const address of ['http://127.0.0.2:1', 'http://localhost', 'http://[::1]:8200']) {
    createVaultClient({ address, auth })
  }
  for (const address of [
    'vault',
    'https://a/b',
    'https://user@a',
    'ftp://a',
    'http://127.0.0.1.example.org',
  ]) {
    t.throws(() => createVaultClient({ address, auth }), { code }, address)
  }
  for (const wrong of [{}, { token: '' }, { appRole: {} }, { kubernetes: {} }, null]) {
    t.throws(() => createVaultClient({ address: 'https://a', auth: wrong as never }), { code })
  }
})

await t.test('concurrent reads near the end of a lease share its successor', async (t) => {
  const { vault, clock, connect } = await open(t)
  const provider = createVaultDatabaseProvider(connect({ auth: { token: vault.rootToken } }))
  const pair = async () => {
    const [username, password] = await Promise.all([
      provider.read('app#username'),
      provider.read('app#password'),
    ])
    t.equal(username.version, password.version)
    return username.version
  }
  const first = await pair()
  clock.advance(3_600_000)
  t.not(await pair(), first)
  const creds = vault.requests.filter((line) => line === 'GET database/creds/app')
  t.equal(creds.length, 2)
  await provider.close!()
})

await t.test('accounts are replaced when a login replaces the token that made them', async (t) => {
  const { vault, clock, connect } = await open(t)
  vault.tokenTtlSeconds = 600
  vault.tokenMaxTtlSeconds = 600
  const provider = createVaultDatabaseProvider(connect())
  let changes = 0
  provider.watch!(() => changes++)
  const before = await provider.read('app#username')
  const logins = () => vault.requests.filter((line) => line.includes('login')).length
  await until(async () => {
    clock.advance(10_000)
    await new Promise((resolve) => setTimeout(resolve, 2))
    return logins() === 2 && changes > 0
  })
  const after = await provider.read('app#username')
  t.not(after.value, before.value)
  t.ok(vault.accounts().includes(before.value), 'the former account works until its token ends')
  await provider.close!()
})

await t.test('a login that fails in the background is tried again', async (t) => {
  const { vault, clock, connect, errors } = await open(t)
  vault.tokenTtlSeconds = 600
  vault.tokenMaxTtlSeconds = 600
  const provider = createVaultDatabaseProvider(connect({ retries: 0 }))
  await provider.read('app')
  const logins = () => vault.requests.filter((line) => line.includes('login')).length
  vault.fail(500, 2)
  clock.advance(400_000)
  await until(() => errors.length === 1)
  await until(async () => {
    clock.advance(10_000)
    await new Promise((resolve) => setTimeout(resolve, 2))
    return logins() >= 2
  })
  await provider.close!()
})

await t.test('a path that a valid token may not read leads to no login', async (t) => {
  const { vault, connect } = await open(t)
  const client = connect()
  await client.ask({ method: 'GET', path: 'secret/data/none' })
  const logins = () => vault.requests.filter((line) => line.includes('login')).length
  for (let count = 0; count < 5; count++) {
    vault.fail(403)
    t.equal((await client.ask({ method: 'GET', path: 'secret/data/forbidden' })).status, 403)
  }
  t.equal(logins(), 1)
  vault.revokeTokens()
  await Promise.all(['a', 'b', 'c'].map((path) => client.ask({ method: 'GET', path })))
  t.ok(logins() <= 3, 'a new token is not forgotten by those that were refused with the former one')
})

await t.test('answers that are not of the API are refused by name', async (t) => {
  let body = ''
  const server = createServer((_request, response) => void response.end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createVaultClient({ address, auth: { token: 'x' }, retries: 0 })
  const failed = { code: 'PARAPET_SECRETS_PROVIDER_FAILED' }
  for (body of ['null', '5', '{}', '{"data":[]}', '{"data":{"data":{"value":"x"}}}']) {
    await t.rejects(createVaultKvProvider(client).read('k'), failed, body)
    await t.rejects(createVaultDatabaseProvider(client).read('app'), failed, body)
  }
})

await t.test('the members of a record are read at once, and a client is closed last', async (t) => {
  const { vault, connect } = await open(t)
  const client = connect()
  const provider = createVaultKvProvider(client)
  await provider.writeRecord('db', { username: 'u', password: 'p' }, null)
  const reads = () => vault.requests.filter((line) => line === 'GET secret/data/db').length
  const found = await Promise.all([provider.read('db#username'), provider.read('db#password')])
  t.same(
    found.map(({ value }) => value),
    ['u', 'p'],
  )
  t.equal(reads(), 1)
  await provider.read('db#username')
  t.equal(reads(), 2)
})
