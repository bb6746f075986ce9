/* oxlint-disable unicorn/no-thenable -- "then" is a member of playbooks and of JSON Schema */
/** Playbooks: what is read, what is refused and where, and what survives CACAO. */
import { readdirSync, readFileSync } from 'node:fs'
import {
  builtInPlaybooks,
  exportCacao,
  importCacao,
  incidentResponse,
  playbookSchema,
  type CacaoPlaybook,
  type Playbook,
  type Step,
} from '@parapet/incident-response'
import { runs } from '@parapet/testing'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'

const actions = { a: async () => {}, b: async () => {}, c: async () => {} }

async function load(t: Test, yaml: string, options: object = {}) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(incidentResponse, {
    actions,
    builtIn: [],
    playbooks: [{ file: 'p.yml', yaml }],
    ...options,
  })
  return app
}

async function refuse(t: Test, yaml: string, problem: RegExp, options: object = {}) {
  const error = await load(t, yaml, options).then(
    () => new Error('it was loaded'),
    (each: unknown) => each as Error,
  )
  t.match(error, { code: 'PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK' }, error.message)
  t.match(error.message, problem)
}

const playbook = (actions: string) =>
  `name: p\nseverity: high\nphases:\n  containment:\n    duration: 1h\n    actions:\n${actions}`

await t.test('a playbook with every kind of step is loaded and written again', async (t) => {
  const yaml = `name: full
title: Every kind of step
severity: critical
triggers:
  - data_breach
  - type: brute_force
    min_severity: high
    min_findings: 5
variables:
  tries: 0
  is_done: false
phases:
  detection:
    duration: 15m
  containment:
    duration: 1h
    actions:
      - a
      - isolate:
          - b
          - inner:
              - c
      - action: a
        with:
          level: 3
        timeout: 30s
        retries: 0
        on_failure: stop
      - manual: Look at it
        timeout: 4h
      - parallel:
          - a
          - both:
              - b
              - c
      - if: severity >= 'high' AND NOT (is_done = true)
        then:
          - a
        else:
          - b
      - while: tries < 3
        do:
          - wait: 10s
          - c
        max_rounds: 3
      - switch: type
        cases:
          data_breach:
            - a
        default:
          - b
  recovery:
    actions:
      - undo: containment
      - playbook: other
notifications:
  immediate:
    - team
`
  const other = { playbook: { name: 'other', severity: 'low', phases: { recovery: {} } } as const }
  const notifiers = { team: { send: async () => {} } }
  const playbooks = [{ file: 'full.yml', yaml }, other]
  const app = await load(t, '', { playbooks, notifiers })
  t.equal(await app.incidents.yamlOf('full'), yaml)
  t.same(await importCacao(app.incidents.cacaoOf('full')), app.incidents.playbooks.get('full'))
})

await t.test('a playbook that cannot run is refused with file, line and reason', async (t) => {
  await refuse(t, playbook('      - d\n'), /p\.yml:7:9 .*: the action "d" is not registered/)
  await refuse(
    t,
    playbook('      - action: d\n'),
    /p\.yml:7:17 .*: the action "d" is not registered/,
  )
  await refuse(t, playbook('      - {acton: a}\n'), /p\.yml:7:17 .*"acton" is no kind of step/)
  await refuse(
    t,
    playbook('      - {manual: x, retries: 1}\n'),
    /p\.yml:7:21 .*"retries" is unknown/,
  )
  await refuse(t, playbook('      - wait: -5m\n'), /p\.yml:7:15 .*"wait" has an invalid form/)
  await refuse(
    t,
    playbook('      - a\n').replace('1h', '-1h'),
    /p\.yml:5:15 .*"duration" has an invalid/,
  )
  await refuse(
    t,
    playbook('      - a\n').replace('high', 'urgent'),
    /p\.yml:2:11 .*one of low, medium/,
  )
  await refuse(t, playbook('      - playbook: q\n'), /p\.yml:7:19 .*there is no playbook "q"/)
  await refuse(
    t,
    playbook("      - {if: sevrity = 'x', then: [a]}\n"),
    /p\.yml:7:14 .*"sevrity" is neither/,
  )
  await refuse(
    t,
    playbook('      - {if: findings >, then: [a]}\n'),
    /p\.yml:7:14 .*needs a value at its end/,
  )
  await refuse(
    t,
    playbook('      - http: GET https://x.example.com/\n'),
    /p\.yml:7:15 .*"httpHosts"/,
  )
  await refuse(
    t,
    playbook('      - http: GET https://169.254.169.254/\n'),
    /must be a public address/,
    { httpHosts: ['169.254.169.254'] },
  )
  await refuse(
    t,
    playbook('      - a\n').replace('name: p', 'name: p\nname: q'),
    /p\.yml:2:1: Map keys/,
  )
  await refuse(t, 'name: [', /p\.yml:1:/)
  await refuse(t, '', /p\.yml/)
  await refuse(t, playbook('      - a\n      - !!js/function "x"\n'), /p\.yml:8:9: /)
  await refuse(t, playbook('      - "a\\0"\n'), /p\.yml:7:9/)
  await refuse(t, playbook('      - a\n') + '---\nname: q\n', /p\.yml:8:1/)
})

await t.test(
  'bombs of aliases, nesting and size are refused before they cost anything',
  async (t) => {
    const levels = Array.from({ length: 20 }, (_, n) =>
      n === 0 ? 'l0: &l0 [a, a]' : `l${n}: &l${n} [*l${n - 1}, *l${n - 1}, *l${n - 1}]`,
    )
    await refuse(t, `${levels.join('\n')}\n`, /p\.yml:2:10: aliases are not allowed/)
    await refuse(t, 'a: &a [*a]\n', /p\.yml:1:8: aliases are not allowed/)
    await refuse(t, `name: ${'[\n'.repeat(5000)}`, /nested more than 40/)
    await refuse(t, `name: ${'['.repeat(100_000)}${']'.repeat(100_000)}`, /nested more than 40/)
    await refuse(t, `name: ${'{a: '.repeat(20_000)}`, /nested more than 40/)
    await refuse(t, `${'- '.repeat(50_000)}a`, /nested more than 40/)
    const deep = Array.from({ length: 300 }, (_, n) => `${' '.repeat(n)}k:`).join('\n')
    await refuse(t, deep, /nested more than 40/)
    await refuse(t, `name: ${'x'.repeat(10 * 1024 * 1024)}`, /p\.yml: is larger than 262144 bytes/)
  },
)

const run = (name: string, other: string) => ({
  file: `${name}.yml`,
  yaml: `name: ${name}\nseverity: low\nphases: {recovery: {actions: [a, {playbook: ${other}}]}}\n`,
})

await t.test('playbooks that run each other in a circle are refused', async (t) => {
  await refuse(t, '', /p\.yml:3:.*circle: p → q → r → p/s, {
    playbooks: [run('p', 'q'), run('q', 'r'), run('r', 'p')],
  })
  await refuse(t, '', /circle: p → p/, { playbooks: [run('p', 'p')] })
})

await t.test(
  'a notifier that does not exist is refused, and two playbooks of one name',
  async (t) => {
    const told = `${playbook('      - a\n')}notifications:\n  within_1_hour: [legal]\n`
    await refuse(t, told, /p\.yml:9:19 .*: the notifier "legal" is not registered/)
    const yaml = playbook('      - a\n')
    const playbooks = [1, 2].map((n) => ({ file: `p${n}.yml`, yaml }))
    await refuse(t, '', /p2\.yml:1:7.*two playbooks "p"/, { playbooks })
  },
)

await t.test('in built-in playbooks, what is not registered is the work of a person', async (t) => {
  const app = await load(t, playbook('      - a\n'), { builtIn: Object.keys(builtInPlaybooks) })
  t.equal(app.incidents.playbooks.size, 10)
  t.ok(app.incidents.missing.actions.includes('terminate_sessions'))
  t.ok(app.incidents.missing.notifiers.includes('security_team'))
  const own = await load(t, '', {
    playbooks: [
      { file: 'x.yml', yaml: playbook('      - a\n').replace('name: p', 'name: data_breach') },
    ],
    builtIn: ['data_breach'],
  })
  t.equal(own.incidents.playbooks.get('data_breach')?.severity, 'high', 'an own one replaces it')
})

await t.test('the published schema is the one that is used', async (t) => {
  const file = new URL('../src/playbook.schema.json', import.meta.url)
  t.same(JSON.parse(readFileSync(file, 'utf8')), playbookSchema)
})

const official = openOfficialSchemas()

await t.test('every built-in playbook is valid CACAO 2.0, and survives it', async (t) => {
  const app = await load(t, playbook('      - a\n'), { builtIn: Object.keys(builtInPlaybooks) })
  for (const each of app.incidents.playbooks.values()) {
    const cacao = exportCacao(each, { created: 0 })
    t.same(official(cacao), [], each.name)
    t.same(await importCacao(JSON.stringify(cacao)), each, each.name)
    t.same(exportCacao(each, { created: 0 }), cacao, 'ids are stable')
  }
})

const count = runs(150, 1000)

await t.test(`${count} generated playbooks survive YAML and CACAO`, async (t) => {
  const validate = new Ajv({ strict: false }).compile(playbookSchema)
  await fc.assert(
    fc.asyncProperty(playbooks(), async (each) => {
      if (!validate(each)) throw new Error(JSON.stringify(validate.errors))
      const cacao = exportCacao(each, { created: 1_700_000_000_000 })
      const faults = official(cacao)
      if (faults.length > 0) throw new Error(faults.join('\n'))
      const back = await importCacao(JSON.stringify(cacao))
      if (!isSame(back, each)) throw new Error(`${JSON.stringify(back)}\n${JSON.stringify(each)}`)
      const app = Fastify()
      const others = ['p1', 'p2'].map((name) => ({
        playbook: { name, severity: 'low', phases: { recovery: {} } } as const,
      }))
      const options = { actions, builtIn: [], notifiers: { n1: { send: async () => {} } } }
      await app.register(incidentResponse, {
        ...options,
        httpHosts: ['edr.example.com'],
        playbooks: [{ playbook: each }, ...others],
      })
      const yaml = await app.incidents.yamlOf(each.name)
      await app.close()
      const again = Fastify()
      await again.register(incidentResponse, {
        ...options,
        httpHosts: ['edr.example.com'],
        playbooks: [{ file: 'x.yml', yaml }, ...others],
      })
      const read = again.incidents.playbooks.get(each.name)
      await again.close()
      if (!isSame(read!, each)) throw new Error(yaml)
    }),
    { numRuns: count, seed: 4711 },
  )
  t.pass('all of them')
})

const id = (type: string, n: number) => `${type}--0000000${n}-0000-4000-8000-000000000000`

await t.test('CACAO of other tools: people and HTTP are read, code is refused', async (t) => {
  const foreign = foreignPlaybook()
  t.same(official(foreign), [])
  t.same(await importCacao(foreign), {
    name: 'isolate_a_host_v2',
    title: 'Isolate a host (v2)',
    severity: 'critical',
    variables: { severity_level: 'high' },
    phases: {
      containment: {
        actions: [
          {
            http: 'POST https://edr.example.com/api/isolate',
            headers: { accept: 'application/json' },
            body: '{}',
          },
          {
            if: "severity_level = 'high'",
            then: [{ manual: 'Call the owner', timeout: '1h' }],
          },
        ],
      },
    },
  })
  const change = (edit: (workflow: Record<string, Record<string, unknown>>) => void) => {
    const copy = structuredClone(foreign) as unknown as {
      workflow: Record<string, Record<string, unknown>>
    }
    edit(copy.workflow)
    return copy
  }
  const reject = (source: object | string, problem: RegExp) =>
    t.rejects(importCacao(source), {
      code: 'PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK',
      message: problem,
    })
  const [, http] = Object.keys(foreign.workflow)
  for (const type of ['bash', 'powershell', 'ssh', 'jupyter', 'openc2-http', 'x']) {
    await reject(
      change((workflow) => void (workflow[http!]!['commands'] = [{ type, command: 'rm -rf /' }])),
      new RegExp(`the command "${type}" is not supported`),
    )
  }
  await reject(
    change((workflow) => void (workflow[http!]!['on_completion'] = http)),
    /form a circle/,
  )
  await reject(
    change((workflow) => void (workflow[http!]!['on_completion'] = 'end--1')),
    /there is no step "end--1"/,
  )
  await reject(
    change((workflow) => void (workflow[http!]!['type'] = 'quantum')),
    /"quantum" is not supported/,
  )
  await reject('{', /is no JSON/)
  await reject({ type: 'playbook', spec_version: '1.0' }, /must have the type/)
  await reject(`{"a":"${'x'.repeat(2_000_000)}"}`, /is larger than/)
})

await t.test('CACAO of any form is read, or refused with file and place', async (t) => {
  const whole = exportCacao({
    name: 'x',
    severity: 'low',
    variables: { v: 'y' },
    phases: {
      containment: {
        duration: '1h',
        actions: [
          { g: ['a', { manual: 'm' }] },
          { http: 'GET https://a.example/', headers: { a: 'b' }, body: 'c' },
          { parallel: ['a', 'b'] },
          { switch: 'v', cases: { y: ['a'] }, default: ['b'] },
          { if: "v = 'y'", then: ['a'] },
        ],
      },
    },
  })
  const paths: (string | number)[][] = []
  const collect = (value: unknown, path: (string | number)[]): void => {
    paths.push(path)
    if (typeof value !== 'object' || value === null) return
    for (const [name, each] of Object.entries(value)) collect(each, [...path, name])
  }
  collect(whole, [])
  for (const path of paths.slice(1)) {
    for (const odd of [null, 5, 'odd', [], [null], {}, true]) {
      const copy = structuredClone(whole) as unknown as Record<string, unknown>
      const parent = path.slice(0, -1).reduce((each, name) => each[name] as typeof copy, copy)
      parent[path.at(-1)!] = odd
      const error = await importCacao(copy, { file: 'c.json' }).catch(
        (each: unknown) => each as Error,
      )
      const isStated = /c\.json/.test((error as Error).message ?? '') || !(error instanceof Error)
      if (!isStated) t.fail(`${path.join('.')} = ${JSON.stringify(odd)}: ${String(error)}`)
    }
  }
  const circular: Record<string, unknown> = { ...whole }
  circular['self'] = circular
  await t.rejects(importCacao(circular, { file: 'c.json' }), { message: /c\.json: is no JSON/ })
  const misspelt = JSON.stringify(whole).replaceAll('"phase":"containment"', '"phase":"contanment"')
  await t.rejects(importCacao(misspelt), { message: /phase\): must be one of detection,/ })
})

const double = (n: number) =>
  Array.from({ length: n }, (_, at) => {
    const inner = at === n - 1 ? 'a' : { playbook: `p${at + 1}` }
    const phases = { containment: { actions: [inner, inner] } }
    return { playbook: { name: `p${at}`, severity: 'low', phases } }
  })

await t.test('a few playbooks that run each other are not millions of steps', async (t) => {
  const open = async (n: number) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(incidentResponse, { actions, builtIn: [], playbooks: double(n) as never })
  }
  await open(10)
  await t.rejects(open(100), {
    code: 'PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK',
    message: /steps, with those of the playbooks in it; at most 2000/,
  })
})

await t.test('a drill says what the playbooks in a playbook lack', async (t) => {
  const yaml = `name: outer
severity: low
phases:
  containment:
    actions: [{playbook: data_breach}]
`
  const { incidents } = await load(t, yaml, { builtIn: ['data_breach'] })
  const drill = await incidents.drill('outer')
  t.notOk(drill.ok)
  t.match(drill.problems, [/The action "[a-z_]+" is not registered: a person must do it/])
})

function isSame(a: Playbook, b: Playbook): boolean {
  const sorted = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sorted)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .toSorted(([x], [y]) => (x < y ? -1 : 1))
              .map(([key, each]) => [key, sorted(each)]),
          )
        : value
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
}

/** The official schemas, and the names of members that each type may have. @returns faults. */
function openOfficialSchemas(): (cacao: CacaoPlaybook) => string[] {
  const folder = new URL('vectors/cacao-2.0/', import.meta.url)
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
  const byName = new Map<string, Record<string, unknown>>()
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.json')) continue
    const schema = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Record<
      string,
      unknown
    >
    byName.set(file, schema)
    ajv.addSchema(schema)
  }
  const ofType = (path: string) => ajv.getSchema(String(byName.get(path)!['$id']))!
  const membersOf = (path: string): Set<string> => {
    const schema = byName.get(path)!
    const parts = [schema, ...((schema['allOf'] as Record<string, unknown>[] | undefined) ?? [])]
    const own = parts.flatMap((part) =>
      Object.keys((part['properties'] as object | undefined) ?? {}),
    )
    const base = parts.flatMap((part) => (typeof part['$ref'] === 'string' ? [part['$ref']] : []))
    const inherited = base.flatMap((ref) => [
      ...membersOf(`${path.split('/')[0]}/${ref.replace(/^.*\//, '')}`),
    ])
    return new Set([...own, ...inherited])
  }
  return (cacao) => {
    const faults: string[] = []
    const check = (path: string, value: object) => {
      const validate = ofType(path)
      if (validate(value) !== true) faults.push(`${path}: ${ajv.errorsText(validate.errors)}`)
      const known = membersOf(path)
      for (const key of Object.keys(value))
        if (!known.has(key)) faults.push(`${path} has no "${key}"`)
    }
    check('playbook.json', cacao)
    for (const step of Object.values(cacao.workflow)) {
      check(`workflows/${step.type}.json`, step)
      for (const command of step.commands ?? []) check(`commands/${command.type}.json`, command)
    }
    for (const agent of Object.values(cacao.agent_definitions ?? {})) {
      check(`agent-target/${agent.type}.json`, agent)
    }
    return faults
  }
}

function playbooks(): fc.Arbitrary<Playbook> {
  const duration = fc.constantFrom('30s', '15m', '4h', '7d')
  const action = fc.constantFrom('a', 'b', 'c')
  const words = fc
    .stringMatching(/^[A-Za-zÄö0-9 ,.:'"#{}[\]&*!|>%@-]{1,30}$/)
    .filter((text) => text.trim() !== '')
  const condition = fc.constantFrom(
    "severity >= 'high'",
    'findings > 3 OR x = 1',
    "NOT type IN ('a', 'b')",
  )
  const settings = {
    timeout: duration,
    retries: fc.nat(5),
    on_failure: fc.constantFrom('continue', 'stop'),
  }
  const { step } = fc.letrec<{ step: Step; steps: Step[] }>((tie) => ({
    steps: fc.array<Step>(tie('step'), { minLength: 1, maxLength: 3 }),
    step: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      action,
      fc.record(
        {
          action,
          with: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.oneof(fc.integer(), words)),
          title: words,
          ...settings,
        },
        { requiredKeys: ['action'] },
      ) as fc.Arbitrary<Step>,
      fc.record({ manual: words, timeout: duration }, { requiredKeys: ['manual'] }),
      fc.record({ wait: duration }),
      fc.record({ undo: fc.constantFrom('containment', 'all') }) as fc.Arbitrary<Step>,
      fc.record({ playbook: fc.constantFrom('p1', 'p2') }),
      fc.record(
        {
          http: fc.constantFrom(
            'POST https://edr.example.com/x?y=1',
            'GET https://edr.example.com/',
          ),
          headers: fc.constant({ accept: 'text/plain' }),
          body: words,
          ...settings,
        },
        { requiredKeys: ['http'] },
      ) as fc.Arbitrary<Step>,
      fc.record({
        parallel: fc.array<Step>(tie('step'), { minLength: 2, maxLength: 3 }),
      }),
      fc.record(
        { if: condition, then: tie('steps'), else: tie('steps') },
        { requiredKeys: ['if', 'then'] },
      ) as fc.Arbitrary<Step>,
      fc.record(
        { while: condition, do: tie('steps'), max_rounds: fc.integer({ min: 1, max: 9 }) },
        { requiredKeys: ['while', 'do'] },
      ) as fc.Arbitrary<Step>,
      fc.record(
        {
          switch: fc.constantFrom('type', 'x'),
          cases: fc.dictionary(
            fc.stringMatching(/^[a-z]{1,6}$/).filter((key) => key !== 'default'),
            tie('steps'),
            { minKeys: 1, maxKeys: 2 },
          ),
          default: tie('steps'),
        },
        { requiredKeys: ['switch', 'cases'] },
      ) as unknown as fc.Arbitrary<Step>,
      words.chain((title) => fc.record({ [`the ${title}`]: tie('steps') })) as fc.Arbitrary<Step>,
    ),
  }))
  const plan = fc.record(
    { duration, actions: fc.array(step, { maxLength: 3 }) },
    { requiredKeys: [] },
  )
  return fc.record(
    {
      name: fc
        .stringMatching(/^[a-z][a-z0-9_-]{0,10}$/)
        .filter((name) => name !== 'p1' && name !== 'p2'),
      title: words,
      description: words,
      severity: fc.constantFrom('low', 'medium', 'high', 'critical'),
      triggers: fc.array(
        fc.oneof(fc.constant('t_1'), fc.constant({ type: 't', min_findings: 3 })),
        { maxLength: 2 },
      ),
      variables: fc.record({ x: fc.oneof(fc.integer(), fc.boolean(), words) }),
      phases: fc
        .record({ detection: plan, containment: plan, recovery: plan }, { requiredKeys: [] })
        .filter((phases) => Object.keys(phases).length > 0),
      notifications: fc.record({ immediate: fc.constant(['n1']) }, { requiredKeys: [] }),
    },
    { requiredKeys: ['name', 'severity', 'phases', 'variables'] },
  ) as fc.Arbitrary<Playbook>
}

/** As another tool writes it. */
function foreignPlaybook(): CacaoPlaybook {
  const [start, call, check, person, end, inner] = [
    id('start', 1),
    id('action', 2),
    id('if-condition', 3),
    id('action', 4),
    id('end', 5),
    id('end', 6),
  ]
  return {
    type: 'playbook',
    spec_version: 'cacao-2.0',
    id: id('playbook', 7),
    name: 'Isolate a host (v2)',
    created_by: id('identity', 8),
    created: '2025-01-01T00:00:00.000Z',
    modified: '2025-01-01T00:00:00.000Z',
    severity: 90,
    playbook_variables: { __severity_level__: { type: 'string', value: 'high' } },
    workflow_start: start,
    workflow: {
      [start]: { type: 'start', on_completion: call },
      [call]: {
        type: 'action',
        on_success: check,
        on_failure: check,
        agent: id('http-api', 9),
        commands: [
          {
            type: 'http-api',
            command: 'POST /api/isolate HTTP/1.1',
            headers: { accept: ['application/json'] },
            content: '{}',
          },
        ],
      },
      [check]: {
        type: 'if-condition',
        condition: "__severity_level__:value = 'high'",
        on_true: person,
        on_completion: end,
      },
      [person]: {
        type: 'action',
        timeout: 3_600_000,
        agent: id('individual', 9),
        commands: [{ type: 'manual', command: 'Call the owner' }],
        on_completion: inner,
      },
      [inner]: { type: 'end' },
      [end]: { type: 'end' },
    },
    agent_definitions: {
      [id('http-api', 9)]: {
        type: 'http-api',
        name: 'EDR',
        address: { url: ['https://edr.example.com'] },
      },
      [id('individual', 9)]: { type: 'individual', name: 'Somebody' },
    },
  }
}
