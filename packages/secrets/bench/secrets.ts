/** The cost of reading a secret, of reading the environment at boot, and of the leak guard in a log. */
import { randomBytes } from 'node:crypto'
import {
  compileEnvironment,
  createEnvironmentProvider,
  createPinoHooks,
  secrets,
  secretText,
} from '@parapet/secrets'
import { goal, pairedBench } from '@parapet/testing'
import { Type, type TSchema } from '@sinclair/typebox'
import { bool, cleanEnv, num, port, str, url } from 'envalid'
import Fastify from 'fastify'

const strong = () => randomBytes(24).toString('base64url')
const stored = Object.fromEntries(
  Array.from({ length: 12 }, (_, index) => [`KEY_${index}`, strong()]),
)
const provider = createEnvironmentProvider(stored)
const options = {
  secrets: Object.fromEntries(Object.keys(stored).map((name) => [name, { provider }])),
  environment: 'production',
}

const app = Fastify()
await app.register(secrets, options)
const key = app.secrets.get('KEY_3')
let seen = 0
const reading = await pairedBench({
  cases: {
    'app.secrets.get(name).use': () =>
      app.secrets.get('KEY_3').use((value) => (seen += value.length)),
    'secret.use': () => key.use((value) => (seen += value.length)),
  },
})
console.log(reading.table)
goal('secrets-read-ns', reading.cases['app.secrets.get(name).use']!.median, 100)

// Sixty variables: what a large service has.
const variables: Record<string, string> = {}
const properties: Record<string, TSchema> = {}
const specs: Record<string, ReturnType<typeof str>> = {}
for (let index = 0; index < 10; index++) {
  const add = (name: string, text: string, schema: TSchema, spec: unknown) => {
    variables[`${name}_${index}`] = text
    properties[`${name}_${index}`] = schema
    specs[`${name}_${index}`] = spec as ReturnType<typeof str>
  }
  add('PORT', '8080', Type.Integer({ minimum: 1, maximum: 65_535 }), port())
  add('URL', 'https://example.org/a', Type.String({ format: 'uri' }), url())
  add('FLAG', 'true', Type.Boolean(), bool())
  add('COUNT', '17', Type.Number({ minimum: 0 }), num())
  add('SECRET', strong(), secretText({ minLength: 16 }), str())
  const levels = ['debug', 'info', 'warn'] as const
  const level = Type.Union(levels.map((each) => Type.Literal(each)))
  add('LEVEL', 'info', level, str({ choices: [...levels] }))
}
const schema = Type.Object(properties)
const booting = await pairedBench({
  time: 'cpu',
  cases: {
    'envalid cleanEnv': () => cleanEnv(variables, specs),
    'compile and read': () => compileEnvironment(schema).read(variables),
  },
})
console.log(booting.table)
goal('secrets-boot-to-envalid', booting.ratio('compile and read', 'envalid cleanEnv').median, 1)

const hooks = createPinoHooks()
hooks.use(app.secrets.leaks)
const lines: string[] = []
let keeps = true
const stream = { write: (line: string) => void (keeps ? lines.push(line) : (seen += line.length)) }
const logging = Fastify({ logger: { stream } })
logging.get('/', async ({ log }) => {
  for (let line = 0; line < 8; line++) {
    log.info({ line, userId: 'u-1234567890', route: '/orders/:id' }, 'an order was processed')
  }
  return { ok: true }
})
// With the two lines that Fastify writes, a request has ten.
await logging.inject('/')
keeps = false
const guarding = await pairedBench({
  time: 'cpu',
  minMs: 100,
  cases: {
    'a request with 10 lines': async () => logging.inject('/'),
    'the search of its lines': () => {
      for (const line of lines) seen += hooks.streamWrite(line).length
    },
  },
})
console.log(guarding.table, `${lines.length} lines`)
goal(
  'secrets-guard-share',
  guarding.ratio('the search of its lines', 'a request with 10 lines').median,
  0.02,
)
await Promise.all([app.close(), logging.close()])
