/** Requests that last: a socket, a stream, a slow upload. Each decision is that of its own moment. */
import { createManualClock } from '@parapet/kit'
import {
  and,
  createMemoryPolicyStore,
  definePolicy,
  during,
  eq,
  rbac,
  type PolicyStore,
  type RbacOptions,
} from '@parapet/rbac'
import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { checkRefusal } from './refusals.ts'

const source = {
  permissions: ['doc:write', 'doc:secret'],
  resources: { doc: { ownerId: 'string' } },
  environment: { load: 'number' },
  facts: { friend: 'boolean' },
  fields: { doc: { secret: 'doc:secret' } },
} as const
const base = definePolicy({
  ...source,
  roles: {
    writer: { grants: ['*'] },
    friend: { when: { 'doc:write': ({ fact }) => eq(fact.friend, true) } },
    clerk: {
      when: {
        'doc:write': ({ environment }) =>
          and(during(environment.time, { from: '00:00', until: '12:00' }), eq(environment.load, 1)),
        'doc:secret': ({ resource }) => eq(resource.ownerId, 'nobody'),
      },
    },
  },
})
const without = definePolicy({
  ...source,
  roles: { writer: { grants: ['doc:secret'] }, editor: { grants: ['doc:write'] } },
})

const NOW = Date.UTC(2026, 0, 15, 11, 59, 59, 500)
type Question = (request: FastifyRequest) => Promise<string>

/** An app with one route whose handler runs `conversation`. */
async function appOf(t: Test, roles: readonly string[], options: Partial<RbacOptions> = {}) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock(NOW)
  const memory = createMemoryPolicyStore()
  let isDown = false
  const policyStore: PolicyStore = {
    ...memory,
    load: async (known) => {
      if (isDown) throw new Error('unreachable')
      return memory.load(known)
    },
  }
  await app.register(rbac, {
    policy: base,
    policyStore,
    clock,
    refreshMs: 1000,
    maxStalenessMs: 5000,
    facts: { friend: () => true },
    environment: () => ({ load: 1 }),
    principal: () => ({ id: 'ann', roles }),
    ...options,
  })
  return { app, clock, setDown: (next: boolean) => (isDown = next) }
}

const ask: Question = async ({ rbac: access }) => {
  const outcome = await access.authorize('doc:write').then(
    () => 'ok',
    (error: { code: string }) => error.code,
  )
  const seen = Object.keys(access.mask('doc:write', { secret: 1 })).length
  return [access.can('doc:write'), outcome, access.filter('doc:write').kind, seen].join(' ')
}
const YES = 'true ok all 1'
const NO = 'false PARAPET_RBAC_DENIED none 0'

type World = Awaited<ReturnType<typeof appOf>>
const grant = ({ app, clock }: World) =>
  app.rbac.grant('writer', 'ann', { until: clock.now() + 3000 })

/** What can end a right, and what a decision says afterwards. */
const endings: readonly (readonly [string, (world: World) => unknown, string])[] = [
  ['the grant is revoked', ({ app }) => app.rbac.revoke('writer', 'ann'), NO],
  ['the grant expires', ({ clock }) => clock.advance(3000), NO],
  ['another policy is published', ({ app }) => app.rbac.publish(without), NO],
  [
    'the policy store is out of contact',
    async ({ app, clock, setDown }) => {
      await app.rbac.grant('writer', 'ann', { until: clock.now() + 1e6 })
      setDown(true)
      clock.advance(5001)
    },
    'false PARAPET_RBAC_STALE none 0',
  ],
]

for (const [name, end, after] of endings) {
  await t.test(`an open request loses its rights if ${name}`, async (t) => {
    const world = await appOf(t, [])
    const answers: string[] = []
    world.app.get('/stream', { config: { rbac: 'doc:write' } }, async (request) => {
      answers.push(await ask(request))
      await end(world)
      answers.push(await ask(request))
      return 'end'
    })
    await grant(world)
    t.equal((await world.app.inject('/stream')).statusCode, 200)
    t.same(answers, [YES, after])
  })
}

await t.test('an open request gets rights back, and those of a grant that starts', async (t) => {
  const world = await appOf(t, [])
  const { app, clock, setDown } = world
  const answers: string[] = []
  app.get('/stream', { config: { rbac: { authenticated: 'a test' } } }, async (request) => {
    answers.push(await ask(request))
    await app.rbac.grant('writer', 'ann', { from: clock.now() + 10, until: clock.now() + 1e6 })
    answers.push(await ask(request))
    clock.advance(10)
    answers.push(await ask(request))
    setDown(true)
    clock.advance(5001)
    answers.push(await ask(request))
    setDown(false)
    await app.rbac.refresh().catch(() => {})
    await app.rbac.refresh()
    answers.push(await ask(request))
    return 'end'
  })
  t.equal((await app.inject('/stream')).statusCode, 200)
  t.same(answers, [NO, NO, YES, 'false PARAPET_RBAC_STALE none 0', YES])
})

await t.test('conditions of an open request read the time and the attributes anew', async (t) => {
  let load = 1
  const { app, clock } = await appOf(t, ['clerk'], { environment: () => ({ load }) })
  const answers: boolean[] = []
  app.get('/stream', { config: { rbac: { authenticated: 'a test' } } }, async (request) => {
    answers.push(request.rbac.can('doc:write'))
    load = 2
    clock.advance(1)
    answers.push(request.rbac.can('doc:write'))
    load = 1
    clock.advance(1)
    answers.push(request.rbac.can('doc:write'))
    clock.advance(498)
    answers.push(request.rbac.can('doc:write'))
    return 'end'
  })
  await app.inject('/stream')
  t.same(answers, [true, false, true, false], 'the window ends at 12:00')
})

await t.test('a right that is revoked while a fact is looked up is refused', async (t) => {
  const answers: ((isFriend: boolean) => void)[] = []
  const { app } = await appOf(t, [], {
    facts: { friend: () => new Promise<boolean>((resolve) => void answers.push(resolve)) },
  })
  const handled: string[] = []
  app.get('/doc', { config: { rbac: 'doc:write' } }, async () => void handled.push('doc'))
  const until = NOW + 3000
  await app.rbac.grant('friend', 'ann', { until })
  const reply = app.inject('/doc').then((each) => each)
  await new Promise((resolve) => setImmediate(resolve))
  await app.rbac.revoke('friend', 'ann')
  answers[0]!(true)
  checkRefusal(t, await reply, 403)
  t.same(handled, [], 'the handler does not run')
})

await t.test('a right that is revoked during a slow upload is refused', async (t) => {
  const { app } = await appOf(t, [])
  const handled: string[] = []
  app.addHook('preValidation', async () => app.rbac.revoke('writer', 'ann'))
  app.post('/doc', { config: { rbac: 'doc:write' } }, async () => void handled.push('doc'))
  await app.rbac.grant('writer', 'ann', { until: NOW + 3000 })
  checkRefusal(t, await app.inject({ method: 'POST', url: '/doc', payload: {} }), 403)
  t.same(handled, [], 'the handler does not run')
})
