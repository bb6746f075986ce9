import { createManualClock } from '@parapet/kit'
import { createAwsProvider, createEnvironmentProvider, createFileProvider } from '@parapet/secrets'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'

const notFound = { code: 'PARAPET_SECRETS_NOT_FOUND', statusCode: 503 }

/** A file that was written long ago. */
function write(file: string, text: string): void {
  writeFileSync(file, text)
  utimesSync(file, 1_700_000_000, 1_700_000_000 + text.length)
}

/** A volume as kubelet mounts it: files are links to `..data`, which is a link to the present folder. */
function createVolume(t: Test) {
  const directory = t.testdir({})
  let generation = 0
  const swap = (files: Readonly<Record<string, string>>): void => {
    const name = `..2026_11_26_${generation++}`
    mkdirSync(join(directory, name))
    for (const [file, text] of Object.entries(files)) {
      writeFileSync(join(directory, name, file), text, { mode: 0o440 })
      if (generation === 1) symlinkSync(`..data/${file}`, join(directory, file))
    }
    symlinkSync(name, join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  }
  return { directory, swap }
}

await t.test('environment variables are read; an empty one is missing', async (t) => {
  const provider = createEnvironmentProvider({ KEY: 'v', EMPTY: '' })
  t.match(await provider.read('KEY'), { value: 'v', version: 'start' })
  await t.rejects(provider.read('EMPTY'), notFound)
  await t.rejects(provider.read('NONE'), notFound)
})

await t.test('a file is read without its last line end, and stays in its folder', async (t) => {
  const directory = t.testdir({})
  write(join(directory, 'key'), 'ñ value\n')
  write(join(directory, 'pem'), 'line 1\nline 2\r\n')
  const provider = createFileProvider({ directory, settleMs: 0 })
  t.equal((await provider.read('key')).value, 'ñ value')
  t.equal((await provider.read('pem')).value, 'line 1\nline 2')
  await t.rejects(provider.read('none'), notFound)
  for (const path of ['../key', '/etc/passwd', '..data', 'a/b', '', '.']) {
    await t.rejects(provider.read(path), { code: 'PARAPET_SECRETS_PROVIDER_FAILED' }, path)
  }
  mkdirSync(join(directory, 'folder'))
  await t.rejects(provider.read('folder'), { code: 'PARAPET_SECRETS_PROVIDER_FAILED' })
  writeFileSync(join(directory, 'large'), Buffer.alloc(1_048_577, 'x'))
  await t.rejects(provider.read('large'), { message: /larger than 1 MiB/ })
})

await t.test('the swap of a Kubernetes volume is noticed within a second', async (t) => {
  const { directory, swap } = createVolume(t)
  swap({ user: 'u1', password: 'p1' })
  const clock = createManualClock()
  const provider = createFileProvider({ directory, clock })
  const read = async () => [await provider.read('user'), await provider.read('password')]
  t.same(
    (await read()).map(({ value }) => value),
    ['u1', 'p1'],
  )
  const seen = { changes: 0 }
  const stop = provider.watch!(() => void seen.changes++)
  const poll = async (ms: number) => {
    clock.advance(ms)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  await poll(999)
  await poll(1)
  t.equal(seen.changes, 0)
  swap({ user: 'u2', password: 'p2' })
  for (let half = 0; half < 2 && seen.changes === 0; half++) {
    clock.advance(500)
    // The files are looked at in the thread pool.
    for (let turn = 0; turn < 50_000 && seen.changes === 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  t.ok(seen.changes > 0, 'after one second of the clock')
  t.same(
    (await read()).map(({ value }) => value),
    ['u2', 'p2'],
  )
  const before = seen.changes
  await poll(1000)
  t.equal(seen.changes, before)
  swap({ user: 'u3', password: 'p3' })
  stop()
  await poll(5000)
  t.equal(seen.changes, before)
})

await t.test('in real time, too', async (t) => {
  const { directory, swap } = createVolume(t)
  swap({ key: 'one' })
  const provider = createFileProvider({ directory })
  await provider.read('key')
  const noticed = new Promise<number>((resolve) => {
    t.after(async () => stop())
    const stop = provider.watch!(() => resolve(performance.now()))
  })
  const keepAlive = setInterval(() => {}, 1000)
  const started = performance.now()
  swap({ key: 'two' })
  const ms = (await noticed) - started
  clearInterval(keepAlive)
  t.ok(ms < 1000, `${ms.toFixed(0)} ms`)
  t.equal((await provider.read('key')).value, 'two')
})

await t.test('a file that is being written in place is not read half', async (t) => {
  const directory = t.testdir({})
  const file = join(directory, 'key')
  const whole = 'a whole key of some length'
  writeFileSync(file, whole.slice(0, 2))
  const provider = createFileProvider({ directory, settleMs: 100 })
  const reading = provider.read('key')
  // A writer that is slow, but not as slow as `settleMs`.
  for (let end = 4; end <= whole.length; end += 4) {
    writeFileSync(file, whole.slice(0, end))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  writeFileSync(file, whole)
  t.equal((await reading).value, whole)
  writeFileSync(file, '')
  utimesSync(file, 1_700_000_000, 1_700_000_000)
  await t.rejects(
    provider.read('key'),
    { code: 'PARAPET_SECRETS_PROVIDER_FAILED' },
    'an empty file is no secret',
  )
  unlinkSync(file)
  await t.rejects(provider.read('key'), notFound)
})

await t.test('a file that every user can read is reported', async (t) => {
  const directory = t.testdir({})
  for (const [name, mode] of [
    ['open', 0o644],
    ['group', 0o440],
    ['own', 0o600],
  ] as const) {
    write(join(directory, name), 'x')
    chmodSync(join(directory, name), mode)
  }
  const provider = createFileProvider({ directory })
  t.match(await provider.inspect!(['open', 'group', 'own', 'none']), [
    { severity: 'error', problem: /every user of the machine can access/ },
  ])
})

await t.test('options are checked', async (t) => {
  const code = 'PARAPET_SECRETS_INVALID_OPTION'
  t.throws(() => createFileProvider({ directory: '' }), { code })
  t.throws(() => createFileProvider({ directory: '/x', pollMs: 1 }), { code, message: /pollMs/ })
  t.throws(() => createAwsProvider({ client: 5 as never }), { code })
})

await t.test('AWS Secrets Manager, through its own client', async (t) => {
  const secrets: Record<string, string> = { app: '{"password":"p1","user":"u1"}', plain: 'text' }
  let targets = 0
  // The JSON protocol of the service, from its public API reference.
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      targets += Number(request.headers['x-amz-target'] === 'secretsmanager.GetSecretValue')
      const { SecretId } = JSON.parse(Buffer.concat(chunks).toString()) as { SecretId: string }
      const SecretString = secrets[SecretId]
      const found = SecretString !== undefined
      const none = {
        __type: SecretId === 'denied' ? 'AccessDeniedException' : 'ResourceNotFoundException',
      }
      response.writeHead(found ? 200 : 400, { 'content-type': 'application/x-amz-json-1.1' })
      response.end(
        JSON.stringify(found ? { SecretString, VersionId: 'v-1', Name: SecretId } : none),
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const credentials = { accessKeyId: 'id', secretAccessKey: 'key' }
  const provider = createAwsProvider({ client: { endpoint, region: 'eu-west-1', credentials } })
  t.after(() => provider.close!())
  t.match(await provider.read('app#password'), { value: 'p1', version: 'v-1' })
  t.match(await provider.read('plain'), { value: 'text' })
  await t.rejects(provider.read('app#none'), notFound)
  await t.rejects(provider.read('plain#none'), notFound)
  await t.rejects(provider.read('none'), notFound)
  await t.rejects(provider.read('denied'), {
    code: 'PARAPET_SECRETS_PROVIDER_FAILED',
    message: /AccessDeniedException/,
  })
  t.ok(targets >= 6)
})

await t.test('a file must be regular and text; its time may lie ahead', async (t) => {
  const directory = t.testdir({ ahead: 'value', folder: {}, empty: '' })
  const failed = { code: 'PARAPET_SECRETS_PROVIDER_FAILED' }
  const provider = createFileProvider({ directory, settleMs: 20 })
  utimesSync(join(directory, 'ahead'), 4_000_000_000, 4_000_000_000)
  t.match(await provider.read('ahead'), { value: 'value' })
  await t.rejects(provider.read('folder'), { ...failed, message: /not a regular file/ })
  execFileSync('sh', ['-c', 'mkfifo "$0"', join(directory, 'pipe')])
  await t.rejects(provider.read('pipe'), { ...failed, message: /not a regular file/ })
  writeFileSync(join(directory, 'binary'), Buffer.from([1, 0xff, 0xfe, 2]))
  await t.rejects(provider.read('binary'), { ...failed, message: /not UTF-8 text/ })
  write(join(directory, 'marked'), '\uFEFFvalue\r\n')
  t.match(await provider.read('marked'), { value: 'value' })
  await t.rejects(provider.read('empty'), { ...failed, message: /is empty/ })
})
