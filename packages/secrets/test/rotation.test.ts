import { createManualClock, type ManualClock } from '@parapet/kit'
import type { ProvidedSecret, SecretsProvider } from '@parapet/secrets'
import t, { type Test } from 'tap'
import { SecretKeeper, type KeeperSettings } from '../src/rotation/secret-keeper.ts'

/** A provider whose answers the test sets. */
function createProvider(values: Record<string, string>) {
  const state = {
    values,
    version: 1,
    reads: 0,
    isAway: false,
    hangs: false,
    closed: 0,
    expiresAt: undefined as number | undefined,
    listener: (): void => {},
  }
  const provider: SecretsProvider = {
    name: 'test',
    async read(path): Promise<ProvidedSecret> {
      state.reads++
      if (state.hangs) await new Promise(() => {})
      if (state.isAway) throw Object.assign(new Error('secret s3cret'), { code: 'ECONNREFUSED' })
      const value = state.values[path]
      if (value === undefined) throw new Error('none')
      const { version, expiresAt } = state
      return { value, version: String(version), ...(expiresAt !== undefined && { expiresAt }) }
    },
    watch(onChange) {
      state.listener = onChange
      return () => {
        state.listener = () => {}
      }
    },
    async close() {
      state.closed++
    },
  }
  return { state, provider }
}

interface Opened {
  readonly keeper: SecretKeeper
  readonly clock: ManualClock
  readonly state: ReturnType<typeof createProvider>['state']
  readonly log: string[]
  /** Moves the clock, then waits for what it started. */
  readonly advance: (ms: number) => Promise<void>
}

async function open(t: Test, settings: Partial<KeeperSettings> = {}): Promise<Opened> {
  const clock = createManualClock()
  const { state, provider } = createProvider({ key: 'one' })
  const log: string[] = []
  const keeper = await SecretKeeper.open({
    secrets: {
      KEY: { provider, path: 'key', refreshMs: 60_000, overlapMs: 10_000, maxStaleMs: 300_000 },
    },
    jitterRatio: 0,
    deadlineMs: 5000,
    hookDeadlineMs: 5000,
    warnBeforeMs: 86_400_000,
    clock,
    random: () => 0,
    onError: (error) => log.push(`error ${String(error)}`),
    reports: {
      rotated: (name, version, overlapMs) => log.push(`rotated ${name} ${version} ${overlapMs}`),
      rotationFailed: (name, step) => log.push(`failed ${name} ${step}`),
      expiring: (name, ms) => log.push(`expiring ${name} ${ms}`),
      stale: (name, ageMs) => log.push(`stale ${name} ${ageMs}`),
      inUse() {},
    },
    ...settings,
  })
  t.after(async () => {
    const closing = keeper.close()
    // What still waits reaches its deadline.
    clock.advance(60_000)
    await closing
  })
  const advance = async (ms: number) => {
    clock.advance(ms)
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { keeper, clock, state, log, advance }
}

const shown = (keeper: SecretKeeper): (string | undefined)[] => {
  const { current, previous } = keeper.get('KEY')
  return [current.use((value) => value), previous?.use((value) => value)]
}

await t.test(
  'a changed value becomes current, and the former one is accepted for the overlap',
  async (t) => {
    const { keeper, state, log, advance } = await open(t)
    const key = keeper.get('KEY')
    t.same(shown(keeper), ['one', undefined])
    state.values['key'] = 'two'
    state.version = 2
    await advance(59_999)
    t.same(shown(keeper), ['one', undefined])
    await advance(1)
    t.same(shown(keeper), ['two', 'one'])
    t.equal(key.version, '2')
    t.ok(key.matches('one') && key.matches('two'))
    t.notOk(key.matches('three') || key.matches(null) || key.matches(undefined))
    await advance(9999)
    t.ok(key.matches('one'))
    await advance(1)
    t.same(shown(keeper), ['two', undefined])
    t.notOk(key.matches('one'))
    t.same(log, ['rotated KEY 2 10000'])
  },
)

await t.test(
  'a provider that watches leads to a refresh at once; the same value rotates nothing',
  async (t) => {
    const { keeper, state, log, advance } = await open(t)
    state.values['key'] = 'two'
    state.listener()
    await advance(0)
    t.same(shown(keeper), ['two', 'one'])
    state.version = 9
    await keeper.refresh('KEY')
    t.equal(keeper.get('KEY').version, '9')
    t.equal(log.length, 1)
  },
)

await t.test(
  'hooks run before the value is current; the latest is rolled back first',
  async (t) => {
    const { keeper, state, log } = await open(t)
    const steps: string[] = []
    let fails = true
    keeper.onRotate('KEY', ({ next, former, name, version }) => {
      const values = [former, next].map((each) => each.use((value) => value))
      steps.push(`a ${name} ${values.join('>')} v${version} current ${shown(keeper)[0]}`)
      return () => void steps.push('undo a')
    })
    keeper.onRotate('KEY', async () => {
      steps.push('b')
      return async () => {
        steps.push('undo b')
        throw new Error('the rollback failed')
      }
    })
    const remove = keeper.onRotate('KEY', async () => {
      if (fails) throw new Error('c with s3cret')
      steps.push('c')
    })
    state.values['key'] = 'two'
    const error = await keeper.refresh('KEY').catch((failure: Error) => failure)
    t.match(error, { code: 'PARAPET_SECRETS_ROTATION_FAILED' })
    t.notMatch(String(error), /s3cret/)
    t.same(steps, ['a KEY one>two v1 current one', 'b', 'undo b', 'undo a'])
    t.same(shown(keeper), ['one', undefined])
    t.same(log, ['error Error: the rollback failed', 'failed KEY onRotate'])
    fails = false
    await keeper.refresh('KEY')
    t.same(shown(keeper), ['two', 'one'])
    t.equal(steps.at(-1), 'c')
    remove()
    remove()
    state.values['key'] = 'three'
    await keeper.refresh('KEY')
    t.equal(steps.filter((step) => step === 'c').length, 1)
  },
)

await t.test(
  'a hook that never answers is bounded, and a failed rotation is tried again soon',
  async (t) => {
    const { keeper, state, log, advance } = await open(t)
    let calls = 0
    keeper.onRotate('KEY', () => (++calls === 1 ? new Promise<void>(() => {}) : undefined))
    state.values['key'] = 'two'
    await advance(60_000)
    await advance(5000)
    t.same(log, ['failed KEY onRotate'])
    t.same(shown(keeper), ['one', undefined])
    await advance(2000)
    t.same(shown(keeper), ['two', 'one'])
  },
)

await t.test('a value that cannot be refreshed is used for a bounded time', async (t) => {
  const { keeper, state, log, advance } = await open(t)
  const key = keeper.get('KEY')
  state.isAway = true
  await advance(60_000)
  t.same(log, ['stale KEY 60000'])
  t.equal(
    key.use((value) => value),
    'one',
  )
  const before = state.reads
  for (let second = 0; second < 239; second++) await advance(1000)
  t.ok(state.reads - before < 12, `${state.reads - before} attempts: the waits grow`)
  t.equal(
    key.use((value) => value),
    'one',
  )
  await advance(60_000)
  const stale = { code: 'PARAPET_SECRETS_STALE', statusCode: 503 }
  t.throws(() => key.current, stale)
  t.throws(() => key.use((value) => value), stale)
  t.throws(() => key.matches('one'), stale)
  t.equal(log.length, 2)
  state.isAway = false
  await advance(60_000)
  t.equal(
    key.use((value) => value),
    'one',
  )
})

await t.test('a hook that fails for long does not take the value for revoked', async (t) => {
  const { keeper, state, log, advance } = await open(t)
  const key = keeper.get('KEY')
  const stop = keeper.onRotate('KEY', () => {
    throw new Error('the new password is refused')
  })
  Object.assign(state, { values: { key: 'two' }, version: 2 })
  for (let minute = 0; minute < 10; minute++) await advance(60_000)
  log.length = 0
  state.isAway = true
  await advance(60_000)
  t.equal(
    key.use((value) => value),
    'one',
  )
  t.same(log, ['stale KEY 60000'], 'the outage is reported')
  state.isAway = false
  stop()
  await advance(60_000)
  t.same(shown(keeper), ['two', 'one'])
})

await t.test('a provider that never answers is bounded, at boot and later', async (t) => {
  const { keeper, state, log, advance, clock } = await open(t)
  state.hangs = true
  await advance(60_000)
  await advance(5000)
  t.same(log, ['stale KEY 65000'])
  t.equal(
    keeper.get('KEY').use((value) => value),
    'one',
  )
  const { provider, state: hanging } = createProvider({})
  hanging.hangs = true
  const kept = { provider, path: 'k', refreshMs: 1000, overlapMs: 0, maxStaleMs: 1000 }
  const opening = open(t, { secrets: { A: kept }, clock })
  clock.advance(5000)
  await t.rejects(opening, {
    code: 'PARAPET_SECRETS_NOT_LOADED',
    message: /"A" from test: The provider test did not answer within 5000 ms/,
  })
})

await t.test('every secret that is missing at boot is listed, without values', async (t) => {
  const { provider } = createProvider({ c: 'x' })
  const kept = (path: string) => ({ provider, path, refreshMs: 1000, overlapMs: 0, maxStaleMs: 1 })
  const error = await open(t, { secrets: { A: kept('a'), B: kept('b'), C: kept('c') } }).catch(
    (failure: Error) => failure,
  )
  t.match(error, {
    code: 'PARAPET_SECRETS_NOT_LOADED',
    message: /"A" from test: Error\n {2}"B" from test/,
  })
  t.notMatch((error as Error).message, /"C"/)
})

await t.test('an expiry is announced once for each version', async (t) => {
  const { keeper, state, log, clock } = await open(t)
  state.expiresAt = clock.now() + 90_000_000
  await keeper.refresh('KEY')
  t.same(log, [])
  clock.advance(10_000_000)
  await keeper.refresh('KEY')
  await keeper.refresh('KEY')
  t.same(
    log.filter((line) => line.startsWith('expiring')),
    ['expiring KEY 80000000'],
  )
  t.equal(keeper.get('KEY').expiresAt, state.expiresAt)
})

await t.test('refreshes are spread, shared, and end with close', async (t) => {
  const { keeper, state, advance, clock } = await open(t, { jitterRatio: 0.5, random: () => 1 })
  await advance(29_999)
  t.equal(state.reads, 1)
  await advance(1)
  t.equal(state.reads, 2, 'half of the time is jitter')
  state.listener()
  state.listener()
  await advance(0)
  t.equal(state.reads, 3, 'two at the same time are one')
  t.throws(() => keeper.get('NONE'), { code: 'PARAPET_SECRETS_UNKNOWN' })
  await keeper.close()
  t.equal(state.closed, 1)
  const { reads } = state
  clock.advance(10_000_000)
  state.listener()
  await keeper.refresh('KEY')
  t.equal(state.reads, reads)
})

await t.test('each former value is accepted for its own overlap', async (t) => {
  const { keeper, state, advance } = await open(t)
  const key = keeper.get('KEY')
  state.values['key'] = 'two'
  await keeper.refresh('KEY')
  await advance(4000)
  state.values['key'] = 'three'
  await keeper.refresh('KEY')
  t.same(shown(keeper), ['three', 'two'])
  const accepted = () => ['one', 'two', 'three'].filter((value) => key.matches(value))
  t.same(accepted(), ['one', 'two', 'three'])
  await advance(6000)
  t.same(accepted(), ['two', 'three'])
  await advance(4000)
  t.same(accepted(), ['three'])
})

await t.test('members of one record become current together, or not at all', async (t) => {
  const { state, provider } = createProvider({ 'db#user': 'u1', 'db#pass': 'p1' })
  const kept = { provider, refreshMs: 60_000, overlapMs: 0, maxStaleMs: 300_000 }
  const secrets = { USER: { ...kept, path: 'db#user' }, PASS: { ...kept, path: 'db#pass' } }
  const { keeper, advance, log } = await open(t, { secrets })
  const pair = () => ['USER', 'PASS'].map((name) => keeper.get(name).use((value) => value))
  const seen: string[][] = []
  let fails = true
  let undone = 0
  keeper.onRotate('USER', () => {
    seen.push(pair())
    return () => void undone++
  })
  keeper.onRotate('PASS', () => {
    seen.push(pair())
    if (fails) throw new Error('refused')
  })
  Object.assign(state.values, { 'db#user': 'u2', 'db#pass': 'p2' })
  await t.rejects(keeper.refresh('USER'), { code: 'PARAPET_SECRETS_ROTATION_FAILED' })
  t.same([pair(), undone], [['u1', 'p1'], 1])
  t.same(log.splice(0), ['failed USER onRotate', 'failed PASS onRotate'])
  fails = false
  await advance(2000)
  t.same(pair(), ['u2', 'p2'])
  t.same(new Set(seen.map(String)), new Set(['u1,p1']), 'no hook sees a mixed pair')
})

await t.test('a hook that ends after its deadline is rolled back then', async (t) => {
  const { keeper, state, advance } = await open(t)
  const ends: ((undo: () => void) => void)[] = []
  let undone = 0
  const remove = keeper.onRotate('KEY', () => new Promise((resolve) => ends.push(resolve)))
  state.values['key'] = 'two'
  const refreshing = keeper.refresh('KEY').catch((error: unknown) => error)
  await advance(0)
  await advance(5000)
  t.match(await refreshing, { code: 'PARAPET_SECRETS_ROTATION_FAILED' })
  ends[0]!(() => void undone++)
  await advance(0)
  t.equal(undone, 1)
  const again = keeper.refresh('KEY').catch(() => {})
  await advance(0)
  await advance(5000)
  await again
  remove()
  await keeper.refresh('KEY')
  ends[1]!(() => void undone++)
  await advance(0)
  t.same([undone, shown(keeper)], [1, ['two', 'one']], 'not if the value is current by now')
})

await t.test('a value that is no text, or empty, is a missing secret', async (t) => {
  const { keeper, state } = await open(t)
  for (const value of ['', 5]) {
    state.values['key'] = value as string
    await t.rejects(keeper.refresh('KEY'), { code: 'PARAPET_SECRETS_NOT_FOUND' })
    t.same(shown(keeper), ['one', undefined])
  }
})

await t.test(
  'a shared provider is closed by its last user, also after a failed start',
  async (t) => {
    const { state, provider } = createProvider({ key: 'one' })
    const kept = { provider, path: 'key', refreshMs: 1000, overlapMs: 0, maxStaleMs: 1000 }
    const [first, second] = [
      await open(t, { secrets: { A: kept } }),
      await open(t, { secrets: { B: kept } }),
    ]
    await first.keeper.close()
    await first.keeper.close()
    t.equal(state.closed, 0)
    await second.keeper.close()
    t.equal(state.closed, 1)
    const clock = createManualClock()
    const secrets = { A: kept, B: { ...kept, path: 'none' } }
    await t.rejects(open(t, { secrets, clock }), { code: 'PARAPET_SECRETS_NOT_LOADED' })
    t.equal(state.closed, 2)
    const { reads } = state
    clock.advance(100_000)
    t.equal(state.reads, reads, 'nothing is read any more')
  },
)
