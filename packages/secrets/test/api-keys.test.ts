import { createManualClock, createMemoryJobs, type Jobs, type ManualClock } from '@parapet/kit'
import {
  createVaultClient,
  createVaultKvProvider,
  rotateApiKeys,
  secrets,
  type ApiKeyRotation,
  type ApiKeyRotationOptions,
  type Secret,
  type WritableProvider,
} from '@parapet/secrets'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { PARAPET_SECRETS_CONFLICT } from '../src/errors.ts'
import { startVault } from './vault-server.ts'

/** A store in memory that outlives the instances of a test. */
function createStore(initial: Readonly<Record<string, string>> | null) {
  let record = initial
  let version = initial === null ? 0 : 1
  const provider: WritableProvider = {
    name: 'store',
    read: async () => ({ value: record!['current']!, version: String(version) }),
    readRecord: async () => (record === null ? null : { record, version: String(version) }),
    async writeRecord(path, next, expected) {
      if ((expected ?? '0') !== String(version)) throw new PARAPET_SECRETS_CONFLICT(path)
      record = { ...next }
      return String(++version)
    },
  }
  return {
    provider,
    read: () => record,
    restore(older: Readonly<Record<string, string>>, itsVersion: number) {
      record = older
      version = itsVersion
    },
  }
}

const text = (key: Secret) => key.use((value) => value)

/** The service that checks keys. */
function createChecker(...keys: string[]) {
  const accepted = new Set(keys)
  return {
    accepted,
    ports: {
      update: async (key: Secret) => void accepted.add(text(key)),
      async verify(key: Secret) {
        if (!accepted.has(text(key))) throw new Error('401')
      },
      retire: async (key: Secret) => void accepted.delete(text(key)),
    },
  }
}

/** A process that dies at a call: nothing it does afterwards has an effect. */
class Crash extends Error {}

interface Instance {
  readonly jobs: Jobs
  readonly rotation: ApiKeyRotation
  readonly log: string[]
}

type Around = <T>(name: string, call: () => Promise<T>) => Promise<T>

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

async function settle(clock: ManualClock, ms: number): Promise<void> {
  for (let second = 0; second * 1000 < ms; second++) {
    clock.advance(1000)
    for (let count = 0; count < 3; count++) await turn()
  }
}

async function startInstance(
  t: Test,
  clock: ManualClock,
  store: ReturnType<typeof createStore>,
  checker: ReturnType<typeof createChecker>,
  around: Around = (_name, call) => call(),
  given: Partial<ApiKeyRotationOptions> = {},
): Promise<Instance> {
  const log: string[] = []
  const jobs = createMemoryJobs({ clock, onNotice() {}, onError() {} })
  t.after(async () => {
    const closing = jobs.close({ drainMs: 1 })
    await settle(clock, 3000)
    await closing
  })
  const { provider } = store
  const { ports } = checker
  let made = 0
  const rotation = rotateApiKeys({
    name: 'PARTNER_KEY',
    path: 'partner',
    jobs,
    clock,
    graceMs: 60_000,
    provider: {
      ...provider,
      readRecord: (path) => around('read', () => provider.readRecord(path)),
      writeRecord: (...args) => around('write', () => provider.writeRecord(...args)),
    },
    generate: (id) => around('generate', async () => `key ${++made} of ${id}`),
    update: (key) => around('update', () => ports.update(key)),
    verify: (key) => around('verify', () => ports.verify(key)),
    retire: (key) => around('retire', () => ports.retire(key)),
    onRotated: (name, version, graceMs) => log.push(`rotated ${name} ${version} ${graceMs}`),
    onFailed: (name, step) => log.push(`failed ${name} ${step}`),
    ...given,
  })
  await jobs.start()
  return { jobs, rotation, log }
}

await t.test(
  'a key is replaced in steps, and the old one is retired after the grace period',
  async (t) => {
    const clock = createManualClock()
    const store = createStore({ current: 'old' })
    const checker = createChecker('old')
    const { rotation, log } = await startInstance(t, clock, store, checker)
    t.match(await rotation.status(), { step: 'idle', rotationId: undefined })
    const id = await rotation.rotate()
    t.equal(await rotation.rotate(), id, 'a second call resumes the first')
    await settle(clock, 5000)
    const next = `key 1 of ${id}`
    t.match(store.read(), { current: next, previous: 'old', step: 'promoted' })
    t.same([...checker.accepted], ['old', next], 'both work')
    t.match(await rotation.status(), { step: 'promoted', rotationId: id, error: undefined })
    await settle(clock, 50_000)
    t.ok(checker.accepted.has('old'))
    await settle(clock, 15_000)
    t.same([...checker.accepted], [next])
    t.match(store.read(), { current: next, step: 'idle' })
    t.notOk('previous' in store.read()!)
    t.same(log, [`rotated PARTNER_KEY ${id} 60000`])
    t.not(await rotation.rotate(), id, 'the next rotation is another one')
  },
)

await t.test('the first key needs no former one', async (t) => {
  const clock = createManualClock()
  const store = createStore(null)
  const checker = createChecker()
  const { rotation } = await startInstance(t, clock, store, checker)
  await rotation.rotate()
  await settle(clock, 5000)
  t.match(store.read(), { step: 'idle', current: /^key 1/ })
  t.equal(checker.accepted.size, 1)
})

for (const step of ['generate', 'update', 'verify', 'retire', 'write'] as const) {
  await t.test(
    `a failure of "${step}" leaves the old key working, and is tried again`,
    async (t) => {
      const clock = createManualClock()
      const store = createStore({ current: 'old' })
      const checker = createChecker('old')
      let failures = 2
      const around: Around = (name, call) => {
        if (name === step && failures-- > 0)
          return Promise.reject(new Error('s3cret in the message'))
        return call()
      }
      const { rotation, jobs, log } = await startInstance(t, clock, store, checker, around)
      const id = await rotation.rotate()
      await settle(clock, 200)
      if (step !== 'retire') {
        const { error } = await rotation.status()
        const found = await jobs.find('secrets.rotate.partner_key', id)
        t.match(
          error ?? found?.error,
          /^PARAPET_SECRETS_KEY_ROTATION_FAILED: .* both keys still work$/,
        )
      }
      t.ok(checker.accepted.has('old'))
      await settle(clock, 120_000)
      t.match(store.read(), { step: 'idle', current: /^key/ })
      t.same([...checker.accepted], [store.read()!['current']])
      t.equal(log.filter((line) => line.startsWith('failed')).length, 2)
      t.notMatch(JSON.stringify(await jobs.find('secrets.rotate.partner_key', id)), /s3cret/)
    },
  )
}

await t.test(
  'after a crash before or after each call, another instance finishes the rotation',
  async (t) => {
    const count = await countCalls(t)
    t.ok(count >= 12, `${count} calls`)
    for (let point = 0; point < 2 * count; point++) {
      const clock = createManualClock()
      const store = createStore({ current: 'old' })
      const checker = createChecker('old')
      let calls = 0
      let isDead = false
      const around: Around = async (_name, call) => {
        if (isDead) throw new Crash()
        const at = 2 * calls++
        if (at === point) isDead = true
        if (isDead) return new Promise(() => {})
        const answer = await call()
        if (at + 1 === point) isDead = true
        return isDead ? new Promise<never>(() => {}) : answer
      }
      const first = await startInstance(t, clock, store, checker, around)
      void first.rotation.rotate()
      await settle(clock, 70_000)
      const record = store.read()!
      t.ok(checker.accepted.has(record['current']!), `${point}: the current key works`)
      const second = await startInstance(t, clock, store, checker)
      const { step } = await second.rotation.status()
      if (record['current'] === 'old' || step !== 'idle') await second.rotation.rotate()
      await settle(clock, 70_000)
      t.match(store.read(), { step: 'idle', current: /^key/ }, `${point}: it was finished`)
      t.ok(checker.accepted.has(store.read()!['current']!))
      t.notOk(checker.accepted.has('old'), `${point}: the old key is retired`)
      t.equal(checker.accepted.size, 1, `${point}: no third key works`)
    }
  },
)

async function countCalls(t: Test): Promise<number> {
  let calls = 0
  const clock = createManualClock()
  const around: Around = (_name, call) => {
    calls++
    return call()
  }
  const [store, checker] = [createStore({ current: 'old' }), createChecker('old')]
  const { rotation } = await startInstance(t, clock, store, checker, around)
  await rotation.rotate()
  await settle(clock, 70_000)
  return calls
}

await t.test('two instances that begin at the same time make one key', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old' })
  const checker = createChecker('old')
  let generated = 0
  const around: Around = (name, call) => {
    if (name === 'write') generated++
    return call()
  }
  // Each has its own jobs, as if the job ran twice at once: check-and-set decides.
  const first = await startInstance(t, clock, store, checker, around)
  const second = await startInstance(t, clock, store, checker, around)
  const ids = await Promise.all([first.rotation.rotate(), second.rotation.rotate()])
  t.equal(ids[0], ids[1])
  await settle(clock, 80_000)
  t.same([...checker.accepted], [store.read()!['current']])
  t.match(store.read(), { step: 'idle' })
  t.equal([...first.log, ...second.log].filter((line) => line.startsWith('rotated')).length, 1)
  t.ok(generated >= 4)
})

await t.test('a rotation in Vault, whose record another writer changes meanwhile', async (t) => {
  const clock = createManualClock()
  const vault = await startVault(t, clock)
  const client = createVaultClient({ address: vault.url, auth: { token: vault.rootToken } })
  const provider = createVaultKvProvider(client)
  await provider.writeRecord('partner', { current: 'old' }, null)
  const jobs = createMemoryJobs({ clock, onNotice() {}, onError() {} })
  const checker = createChecker('old')
  let disturbs = true
  const rotation = rotateApiKeys({
    name: 'K',
    provider,
    path: 'partner',
    jobs,
    clock,
    graceMs: 0,
    ...checker.ports,
    async update(key) {
      await checker.ports.update(key)
      if (!disturbs) return
      disturbs = false
      const { record, version } = (await provider.readRecord('partner'))!
      await provider.writeRecord('partner', { ...record, note: 'by hand' }, version)
    },
  })
  await jobs.start()
  await rotation.rotate()
  for (let count = 0; count < 500; count++) {
    clock.advance(100)
    await new Promise((resolve) => setTimeout(resolve, 2))
    const { step, rotationId } = await rotation.status()
    if (step === 'idle' && rotationId !== undefined) break
  }
  const found = await provider.readRecord('partner')
  t.match(found?.record, { step: 'idle', current: /^[\w-]{43}$/ })
  t.same([...checker.accepted], [found?.record['current']])
  await jobs.close()
})

await t.test('a record with an unknown step is left alone', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old', step: 'of a later release' })
  const { rotation } = await startInstance(t, clock, store, createChecker('old'))
  await t.rejects(rotation.rotate(), {
    code: 'PARAPET_SECRETS_PROVIDER_FAILED',
    message: /"step" is unknown/,
  })
  t.match(store.read(), { step: 'of a later release' })
})

await t.test(
  'the old key is retired when its job runs, also if this clock is behind',
  async (t) => {
    const clock = createManualClock()
    const store = createStore({ current: 'old' })
    const checker = createChecker('old')
    const behind = { now: () => clock.now() - 5000, schedule: clock.schedule }
    const { rotation } = await startInstance(t, clock, store, checker, undefined, { clock: behind })
    const id = await rotation.rotate()
    await settle(clock, 53_000)
    t.ok(checker.accepted.has('old'), 'the grace period has not ended')
    await settle(clock, 4000)
    t.same([...checker.accepted], [`key 1 of ${id}`])
    t.match(store.read(), { step: 'idle' })
  },
)

await t.test('a rotation that is resumed in its grace period does not retire early', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'new', previous: 'old', step: 'promoted', rotationId: 'r' })
  store.restore({ ...store.read()!, since: String(clock.now()) }, 4)
  const checker = createChecker('new', 'old')
  const { rotation } = await startInstance(t, clock, store, checker)
  t.equal(await rotation.rotate(), 'r')
  await settle(clock, 50_000)
  t.ok(checker.accepted.has('old'))
  await settle(clock, 15_000)
  t.same([...checker.accepted], ['new'])
})

const JOB = 'secrets.rotate.partner_key'

await t.test('a rotation begins anew after its record was restored to an older one', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old' })
  const checker = createChecker('old')
  const { rotation } = await startInstance(t, clock, store, checker)
  const first = await rotation.rotate()
  await settle(clock, 70_000)
  store.restore({ current: 'old' }, 1)
  const second = await rotation.rotate()
  t.not(second, first)
  t.equal(await rotation.rotate(), second, 'a second call resumes it')
  await settle(clock, 70_000)
  t.match(store.read(), { step: 'idle', current: `key 2 of ${second}`, rotationId: second })
  // A job that retires starts no rotation in a record that was restored meanwhile.
  await rotation.rotate()
  await settle(clock, 5000)
  store.restore({ current: 'old' }, 1)
  await settle(clock, 70_000)
  t.same(store.read(), { current: 'old' })
})

for (const [state, endJob] of Object.entries({
  cancelled: (jobs: Jobs, key: string) => jobs.cancel(JOB, key),
  archived: async () => true,
})) {
  await t.test(`a rotation whose job is ${state} is resumed by another job`, async (t) => {
    const clock = createManualClock()
    const store = createStore({ current: 'old' })
    const checker = createChecker('old')
    let fails = true
    const around: Around = (name, call) =>
      fails && name === 'update' ? Promise.reject(new Error('503')) : call()
    const { rotation, jobs } = await startInstance(t, clock, store, checker, around)
    const id = await rotation.rotate()
    await settle(clock, 1000)
    t.match(await rotation.status(), { step: 'stored', error: /at the step "update"/ })
    t.ok(await endJob(jobs, id))
    fails = false
    if (state === 'archived') {
      // What pg-boss answers for a dead job that it has moved to its archive.
      const find = jobs.find.bind(jobs)
      const dead = async (name: string, key: string) => {
        const found = await find(name, key)
        return key === id && found !== null ? ({ ...found, state: 'dead' } as const) : found
      }
      await jobs.cancel(JOB, id)
      Object.assign(jobs, { find: dead, revive: async () => false })
    }
    t.equal(await rotation.rotate(), id, 'it is the same rotation')
    await settle(clock, 70_000)
    t.match(store.read(), { step: 'idle', current: `key 1 of ${id}` })
    t.same([...checker.accepted], [`key 1 of ${id}`])
  })
}

await t.test('an old key whose retirement was cancelled is retired by the next call', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old' })
  const checker = createChecker('old')
  const { rotation, jobs } = await startInstance(t, clock, store, checker)
  const id = await rotation.rotate()
  await settle(clock, 5000)
  t.ok(await jobs.cancel(JOB, `${id}:retire`))
  await settle(clock, 100_000)
  t.ok(checker.accepted.has('old'))
  t.equal(await rotation.rotate(), id)
  await settle(clock, 5000)
  t.same([...checker.accepted], [`key 1 of ${id}`])
})

await t.test('the status says why an old key was not retired', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old' })
  const { rotation } = await startInstance(t, clock, store, createChecker('old'), undefined, {
    retire: () => Promise.reject(new Error('503')),
  })
  await rotation.rotate()
  await settle(clock, 65_000)
  t.match(await rotation.status(), { step: 'promoted', error: /at the step "retire"/ })
})

await t.test('other members of the record are kept', async (t) => {
  const clock = createManualClock()
  const store = createStore({ current: 'old', username: 'svc', endpoint: 'https://pay' })
  const { rotation } = await startInstance(t, clock, store, createChecker('old'))
  await rotation.rotate()
  await settle(clock, 70_000)
  t.match(store.read(), { step: 'idle', username: 'svc', endpoint: 'https://pay' })
})

for (const [what, made] of Object.entries({ empty: ' ', current: 'old', missing: undefined })) {
  await t.test(
    `a generated key that is ${what} is refused before any key is retired`,
    async (t) => {
      const clock = createManualClock()
      const store = createStore({ current: 'old' })
      const checker = createChecker('old')
      const { rotation, log } = await startInstance(t, clock, store, checker, undefined, {
        generate: () => made as string,
      })
      await rotation.rotate()
      await settle(clock, 1000)
      t.same(store.read(), { current: 'old' })
      t.same([...checker.accepted], ['old'])
      t.match(log, ['failed PARTNER_KEY idle'])
      t.match(await rotation.status(), { step: 'idle', error: /at the step "store"/ })
    },
  )
}

await t.test(
  'the leak guard knows a new key before it is used, and events are emitted',
  async (t) => {
    const clock = createManualClock()
    const app = Fastify()
    t.after(() => app.close())
    await app.register(secrets, { clock })
    const types: string[] = []
    app.securityEvents.on('*', ({ type, details }) => {
      const { step } = details as { readonly step?: string }
      types.push([type, step].join(' ').trim())
    })
    const store = createStore({ current: 'old-key-1234567' })
    const checker = createChecker('old-key-1234567')
    const found: unknown[] = []
    let fails = true
    const { rotation } = await startInstance(t, clock, store, checker, undefined, {
      reports: app.secrets.reports,
      async update(key) {
        found.push(app.secrets.leaks.find(`key=${text(key)}`))
        if (fails) throw new Error('503')
      },
      verify: async () => {},
    })
    await rotation.rotate()
    await settle(clock, 1000)
    t.equal(app.secrets.leaks.find(store.read()!['next']!), 'PARTNER_KEY', 'also after a failure')
    t.equal(app.secrets.leaks.find('old-key-1234567'), 'PARTNER_KEY')
    fails = false
    await settle(clock, 20_000)
    t.same(new Set(found), new Set(['PARTNER_KEY']))
    await settle(clock, 3_600_000)
    t.same(types, [
      'secrets.rotation_advanced stored',
      'secrets.rotation_failed update',
      'secrets.rotation_advanced updated',
      'secrets.rotation_advanced promoted',
      'secrets.rotated',
      'secrets.rotation_advanced retired',
    ])
  },
)
