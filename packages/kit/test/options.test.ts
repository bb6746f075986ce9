import { createError, option, optionGroup, readOptions } from '@parapet/kit'
import t from 'tap'

const allowAnything: unique symbol = Symbol('allowAnything')

const table = {
  idleTimeoutMs: option.milliseconds({ min: 10, max: 60_000, default: 1000 }),
  stepSeconds: option.seconds({ default: 30 }),
  maxBodyBytes: option.bytes({ default: 1024 }),
  sampleRatio: option.ratio({ default: 0.5 }),
  attempts: option.integer({ max: 9, default: 5 }),
  rolling: option.boolean({ default: true }),
  issuer: option.text({
    max: 8,
    pattern: /^\w+$/,
    form: 'a word such as "parapet"',
    default: 'parapet',
  }),
  cookie: option.text({ pattern: /^\w+$/, default: 'sid' }),
  mode: option.oneOf(['open', 'closed'], { default: 'closed' }),
  roles: option.list(option.text(), { max: 2, default: ['viewer'] }),
  limits: option.map(option.integer(), { default: {} }),
  onEvent: option.optional(option.callback<(name: string) => void>()),
  clock: option.port<{ now: () => number }>(['now'], { default: { now: () => 7 } }),
  even: option.custom<number>((value) => ((value as number) % 2 ? 'must be even' : undefined), {
    default: 2,
  }),
  totp: optionGroup({
    digits: option.oneOf([6, 8], { default: 6 }),
    driftSeconds: option.seconds({ min: 0, default: 30 }),
  }),
  [allowAnything]: option.danger(),
}

function faultsOf(options: unknown): string {
  try {
    readOptions('@parapet/example', options, table)
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

await t.test('defaults are filled in and the result is frozen', (t) => {
  const settings = readOptions('@parapet/example', undefined, table)
  t.match(settings, {
    idleTimeoutMs: 1000,
    sampleRatio: 0.5,
    mode: 'closed',
    roles: ['viewer'],
    totp: { digits: 6, driftSeconds: 30 },
    [allowAnything]: false,
  })
  t.equal(settings.onEvent, undefined)
  t.equal(settings.clock.now(), 7)
  t.ok(Object.isFrozen(settings) && Object.isFrozen(settings.totp))
  const roles = ['a', 'b']
  const given = readOptions('x', { roles, limits: { a: 1 }, [allowAnything]: true }, table)
  roles.push('c')
  t.strictSame(given.roles, ['a', 'b'], "the caller's own array is not kept")
  t.ok(Object.isFrozen(given.roles) && Object.isFrozen(given.limits))
  t.equal(Object.getPrototypeOf(given.limits), null)
  t.equal(given[allowAnything], true)
  const inherited = Object.create({ mode: 'open' }) as object
  t.equal(readOptions('x', inherited, table).mode, 'closed', 'what is inherited is not an option')
  t.end()
})

await t.test('an unknown option names the nearest known one', (t) => {
  t.match(faultsOf({ idleTimeout: 5 }), /"idleTimeout" is unknown, did you mean "idleTimeoutMs"\?/)
  t.match(faultsOf({ isuer: 'x' }), /did you mean "issuer"/)
  t.match(faultsOf({ ROLLING: true }), /did you mean "rolling"/)
  t.match(faultsOf({ totp: { digit: 6 } }), /"totp\.digit" is unknown, did you mean "digits"\?/)
  t.match(faultsOf({ qqqqqqqqqqqq: 1 }), /is unknown, known are idleTimeoutMs, stepSeconds/)
  t.match(faultsOf({ [Symbol('allowMore')]: true }), /"\[allowMore\]" is unknown/)
  t.equal(
    faultsOf({ prefix: '/x', logLevel: 'info', logSerializers: {} }),
    '',
    "Fastify's own pass",
  )
  t.match(faultsOf({ totp: { prefix: '/x' } }), /"totp\.prefix" is unknown/)
  t.match(faultsOf(JSON.parse('{"__proto__": {"mode": "open"}}')), /"__proto__" is unknown/)
  t.end()
})

await t.test('a name from another library is answered by a hint', (t) => {
  const source = option.list(optionGroup({ limit: option.integer() }), { default: [] })
  const table = {
    hsts: optionGroup({ maxAgeSeconds: option.seconds({ default: 600 }) }),
    rules: source,
    routes: option.map(optionGroup({ limit: option.integer() }), { default: {} }),
  }
  const hints = {
    'hsts.maxAge': 'hsts.maxAgeSeconds: 31536000',
    hstss: 'hsts: { maxAgeSeconds: 31536000 }',
    'rules[].max': 'rules[].limit',
    'routes./a.max': 'routes["/a"].limit',
    hsts: 'never shown, because this name is known',
  }
  const messageOf = (input: unknown) => {
    try {
      readOptions('x', input, table, undefined, { hints })
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
  t.match(
    messageOf({ hsts: { maxAge: 5 } }),
    '"hsts.maxAge" is unknown, did you mean "hsts.maxAgeSeconds: 31536000"?',
  )
  t.match(messageOf({ hstss: {} }), 'did you mean "hsts: { maxAgeSeconds: 31536000 }"?')
  const second = messageOf({ rules: [{ limit: 1 }, { limit: 1, max: 1 }] })
  t.match(second, '"rules[1].max" is unknown, did you mean "rules[].limit"?')
  const route = messageOf({ routes: { '/a': { limit: 1, max: 1 } } })
  t.match(route, '"routes./a.max" is unknown, did you mean "routes["/a"].limit"?')
  t.match(messageOf({ hsts: { maxAg: 5 } }), 'did you mean "maxAgeSeconds"?', 'else the nearest')
  t.match(messageOf({ constructor: 1 }), /"constructor" is unknown, known are hsts/)
  t.equal(messageOf({ hsts: { maxAgeSeconds: 5 } }), '')
  t.end()
})

await t.test('no message shows a pattern', (t) => {
  const patterns = [/^\w+$/, /^(?:\/[\w.-]+)+$/i, new RegExp('^x$', 'u')]
  for (const pattern of patterns) {
    const table = { list: option.list(option.text({ pattern })) }
    t.throws(() => readOptions('x', { list: ['!'] }, table), {
      code: 'PARAPET_KIT_INVALID_OPTION',
      message: 'Invalid options for x:\n  "list[0]" has an invalid form',
    })
  }
  t.end()
})

await t.test('units and ranges are checked, and values are not echoed', (t) => {
  const cases: [unknown, RegExp][] = [
    [
      { idleTimeoutMs: '15m' },
      /^ {2}"idleTimeoutMs" must be an integer from 10 to 60000 \(milliseconds\), got "15m"$/m,
    ],
    [{ idleTimeoutMs: 9 }, /got 9/],
    [{ idleTimeoutMs: 10.5 }, /must be an integer/],
    [{ idleTimeoutMs: Number.NaN }, /got NaN/],
    [{ stepSeconds: 0 }, /must be an integer of at least 1 \(seconds\), got 0/],
    [{ maxBodyBytes: null }, /\(bytes\), got null/],
    [{ sampleRatio: 1.1 }, /from 0 to 1, got 1\.1/],
    [{ attempts: 10 }, /from 0 to 9, got 10/],
    [{ rolling: 'yes' }, /true or false, got a string/],
    [{ issuer: '' }, /1 to 8 characters, got 0/],
    [{ issuer: 'a b' }, /"issuer" must be a word such as "parapet"$/m],
    [{ cookie: 'a b' }, /"cookie" has an invalid form$/m],
    [{ issuer: 5 }, /must be a string/],
    [{ mode: 'ajar' }, /must be one of "open", "closed", got a string/],
    [{ roles: 'viewer' }, /array of 0 to 2 items, got a string/],
    [{ roles: ['a', 7] }, /"roles\[1\]" must be a string, got 7/],
    [{ limits: [] }, /"limits" must be an object, got an array/],
    [{ limits: { a: 'x' } }, /"limits\.a" must be an integer/],
    [{ onEvent: 'log' }, /must be a function/],
    [{ clock: {} }, /must have the method now/],
    [{ clock: null }, /must have the method now/],
    [{ even: 3 }, /must be even/],
    [{ totp: 6 }, /"totp" must be an object/],
    [{ [allowAnything]: false }, /must be `true`, or be left out/],
    ['text', /"options" must be an object/],
    [[], /"options" must be an object/],
  ]
  for (const [options, message] of cases) t.match(faultsOf(options), message)
  t.notMatch(faultsOf({ issuer: 'my secret' }), /my secret/)
  t.end()
})

await t.test('all faults come at once, under the error of the plugin', (t) => {
  const PARAPET_EXAMPLE_INVALID_OPTION = createError(
    'PARAPET_EXAMPLE_INVALID_OPTION',
    '%s: %s',
    500,
  )
  t.throws(
    () =>
      readOptions(
        '@parapet/example',
        { a: 1, attempts: 99 },
        table,
        PARAPET_EXAMPLE_INVALID_OPTION,
      ),
    { code: 'PARAPET_EXAMPLE_INVALID_OPTION', statusCode: 500, message: /"a" .*\n {2}"attempts" / },
  )
  t.throws(() => readOptions('x', {}, { name: option.text() }), {
    code: 'PARAPET_KIT_INVALID_OPTION',
    message: /"name" must be a string, got nothing/,
  })
  t.end()
})

await t.test('a table that names a quantity without its unit is refused', (t) => {
  const wrong = { code: 'PARAPET_KIT_INVALID_ARGUMENT', message: /must end in its unit, "Ms"/ }
  t.throws(() => readOptions('x', {}, { timeout: option.milliseconds({ default: 1 }) }), wrong)
  t.equal(readOptions('x', {}, { seconds: option.seconds({ default: 1 }) }).seconds, 1)
  t.end()
})
