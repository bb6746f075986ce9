/** Decisions: the engine, explanations and filters against independent implementations. */
import { createManualClock } from '@parapet/kit'
import {
  after,
  and,
  before,
  cidr,
  definePolicy,
  eq,
  exists,
  gt,
  gte,
  has,
  isIn,
  lte,
  ne,
  not,
  or,
  type AttributeSchema,
  type Filter,
} from '@parapet/rbac'
import { openPglite, runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { compileCondition } from '../src/conditions/compile-condition.ts'
import {
  environmentAttributes,
  subjectAttributes,
  type DecisionContext,
} from '../src/conditions/context.ts'
import type { Truth } from '../src/conditions/nodes.ts'
import { resolveCondition } from '../src/conditions/resolve-condition.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { createFilter } from '../src/decide/filter.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'
import { explain } from '../src/review/explain.ts'
import {
  condition,
  constantPolicy,
  NOW,
  PERMISSIONS,
  policySource,
  request,
  row,
  schema,
  type Request,
} from './arbitraries.ts'
import { interpretNode } from './interpret-condition.ts'
import { oracle } from './oracle.ts'

function accessOf(engine: Engine, { principal, subject, load, friend }: Request): Access {
  const facts = { friend: () => friend }
  return new Access(
    constantPolicy(engine),
    { facts, factTimeoutMs: 1000, clock: createManualClock(NOW), challenge: 'Bearer' },
    {
      principal,
      environment: () => ({ time: NOW, ip: undefined, attributes: { load } }),
      subject: () => subject,
      report: () => {},
    },
  )
}

function contextOf({ principal, resource, subject, load, friend }: Request): DecisionContext {
  return {
    principal,
    subject,
    resource,
    environment: { time: NOW, attributes: { load } },
    facts: new Map([['friend', friend]]),
  }
}

await t.test('engine and explanation agree with a naive implementation', async (t) => {
  const perPolicy = 20
  let pairs = 0
  let allowed = 0
  await fc.assert(
    fc.asyncProperty(
      policySource,
      fc.array(request, { minLength: perPolicy, maxLength: perPolicy }),
      async (source, requests) => {
        const policy = definePolicy(source as never)
        const engine = new Engine(compilePolicy(policy))
        const pairsOfPolicy = requests.flatMap((asked) =>
          PERMISSIONS.map((permission) => ({ ...asked, permission })),
        )
        for (const asked of pairsOfPolicy) {
          const expected = oracle(policy, asked)
          const { principal, permission, resource } = asked
          const node = { op: 'permission', permission } as const
          const decision = await accessOf(engine, asked).decide(node, [permission], resource)
          const context = contextOf(asked)
          const explanation = explain(engine.model, principal.roles, permission, context)
          pairs++
          if (expected) allowed++
          if (
            decision.allowed !== expected ||
            explanation.allowed !== expected ||
            explanation.reason !== decision.reason
          ) {
            throw new Error(
              `${permission}: oracle ${expected}, engine ${JSON.stringify(decision)}, explanation ${explanation.text}`,
            )
          }
        }
      },
    ),
    { numRuns: runs(850, 6000) },
  )
  t.ok(pairs >= 100_000, `${pairs} pairs, ${allowed} of them allowed, 0 mismatches`)
  t.ok(allowed > pairs / 10 && allowed < (pairs * 9) / 10, 'both results are common')
})

await t.test('compiled conditions agree with an interpreter of their trees', async (t) => {
  const further = { dept: 'string', level: 'number', load: 'number', friend: 'boolean' } as const
  const types: AttributeSchema = {
    ...subjectAttributes,
    ...environmentAttributes,
    ...schema,
    ...further,
  }
  const results = new Map<Truth, number>()
  fc.assert(
    fc.property(condition, request, (tree, asked) => {
      const node = resolveCondition(
        tree,
        { typeOf: (_root, name) => types[name], planOf: () => undefined },
        (problem) => {
          throw new Error(problem)
        },
      )
      const context = contextOf(asked)
      const expected = interpretNode(node, context)
      results.set(expected, (results.get(expected) ?? 0) + 1)
      return compileCondition(node)(context) === expected
    }),
    { numRuns: runs(2000, 20_000) },
  )
  t.ok(
    ([true, false, null] as const).every((result) => (results.get(result) ?? 0) > 50),
    `results: ${JSON.stringify([...results])}`,
  )
})

await t.test('a filter is SQL with quoted names and numbered parameters', (t) => {
  const policy = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: schema },
    roles: {
      r: {
        when: {
          'doc:read': ({ resource, subject, environment }) =>
            or(
              and(ne(resource.owner, subject.id), gt(resource.size, 3), gte(resource.size, 1)),
              and(lte(resource.at, environment.time), not(exists(resource.state))),
              and(isIn(resource.state, ['a', 'b']), has(resource.tags, resource.owner)),
              and(isIn(resource.owner, subject.amr), before(resource.at, new Date(NOW))),
              and(
                after(resource.at, environment.time),
                isIn(resource.size, [1, 2]),
                cidr(environment.ip, ['10.0.0.0/8']),
              ),
            ),
        },
      },
    },
    deny: [{ id: 'd', permissions: ['*'], when: ({ resource }) => eq(resource.live, false) }],
  })
  const engine = new Engine(compilePolicy(policy))
  const context = {
    principal: { id: 'ann', roles: ['r'], amr: [] },
    subject: undefined,
    resource: undefined,
    environment: { time: NOW, ip: '10.1.2.3' },
    facts: undefined,
  }
  const filter = createFilter(engine, engine.rightsOf(context.principal), 0, context)
  const { text, values } = filter.sql({
    columns: { owner: 'd."x', at: 's.d.at' },
    firstParameter: 7,
  })
  const at = `date_trunc('milliseconds', "s"."d"."at")`
  const now = new Date(NOW).toISOString()
  t.equal(
    text,
    `(((("d"."""x" <> $7) AND (NULLIF("size"::float8, 'NaN') > $8) AND (NULLIF("size"::float8, 'NaN') >= $9)) ` +
      `OR ((${at} <= $10::timestamptz) AND (NOT ("state" IS NOT NULL))) ` +
      `OR (("state" = ANY ($11)) AND (CASE WHEN "d"."""x" IS NULL THEN NULL ELSE ("d"."""x" = ANY ("tags")) END)) ` +
      `OR (("d"."""x" <> "d"."""x") AND (${at} < $12::timestamptz)) ` +
      `OR ((${at} > $13::timestamptz) AND (NULLIF("size"::float8, 'NaN') = ANY ($14)))) ` +
      `AND (("live" = $15)) IS FALSE)`,
  )
  t.same(values, ['ann', 3, 1, now, ['a', 'b'], now, now, [1, 2], false])
  t.match(
    filter.text,
    /resource\.owner ≠ "ann" and resource\.size > 3.* and not resource\.live = false/,
  )
  for (const naming of [
    { columns: { owner: '' } },
    { columns: { owner: 'a..b' } },
    { columns: { owner: 'a\0' } },
    { firstParameter: 0 },
    { firstParameter: 1.5 },
  ]) {
    t.throws(
      () => filter.sql(naming),
      { code: 'PARAPET_RBAC_INVALID_ARGUMENT', statusCode: 500 },
      JSON.stringify(naming),
    )
  }
  t.end()
})

const text = (value: unknown) => (typeof value === 'string' ? value : null)
const idOf = ({ id }: { readonly id: number }) => id

await t.test(
  'a filter passes exactly the rows that can() allows, as a predicate and as SQL',
  async (t) => {
    const db = await openPglite()
    t.after(() => db.close())
    await db.exec(`CREATE TABLE docs (id int PRIMARY KEY, owner_id text, state text, size float8,
                 live boolean, "at" timestamptz, tags text[])`)
    const rows = fc
      .sample(row, { numRuns: 60, seed: 4 })
      .map((each, id) => ({ id, ...asRow(each) }))
    for (const each of rows) {
      const at = each.at instanceof Date ? each.at.toISOString() : null
      await db.query('INSERT INTO docs VALUES ($1, $2, $3, $4, $5, $6, $7)', [
        each.id,
        each.owner,
        each.state,
        each.size,
        each.live,
        at,
        each.tags,
      ])
    }
    const kinds = new Map<string, number>()
    let byFact = 0
    await fc.assert(
      fc.asyncProperty(
        policySource,
        fc.array(request, { minLength: 3, maxLength: 3 }),
        async (source, requests) => {
          const engine = new Engine(compilePolicy(definePolicy(source as never)))
          for (const asked of requests) {
            const access = accessOf(engine, asked)
            for (const permission of PERMISSIONS) {
              const filter = filterOf(access, permission)
              if (filter === null) {
                byFact++
                continue
              }
              kinds.set(filter.kind, (kinds.get(filter.kind) ?? 0) + 1)
              const naming = { columns: { owner: 'owner_id' }, firstParameter: 2 }
              const { text, values } = filter.sql(naming)
              const select = `SELECT id FROM docs WHERE id >= $1 AND ${text} ORDER BY id`
              const found =
                filter.kind === 'where'
                  ? (await db.query<{ id: number }>(select, [0, ...values])).rows
                  : { TRUE: rows, FALSE: [] }[text]!
              const checked = rows.filter((each) => access.can(permission, each)).map(idOf)
              const matched = rows.filter((each) => filter.matches(each)).map(idOf)
              const selected = found.map(idOf)
              if (String(checked) !== String(matched) || String(checked) !== String(selected)) {
                const ids = JSON.stringify({ checked, matched, selected })
                throw new Error(`${filter.text}\n${text}\n${ids}`)
              }
            }
          }
        },
      ),
      { numRuns: runs(200, 4000) },
    )
    t.ok(
      ['all', 'none', 'where'].every((kind) => (kinds.get(kind) ?? 0) > 50),
      `kinds: ${JSON.stringify([...kinds])}`,
    )
    t.ok(byFact > 20, `${byFact} filters depend on a fact and are refused`)
  },
)

/** Returns `null` if a fact decides. */
function filterOf(access: Access, permission: string): Filter | null {
  try {
    return access.filter(permission)
  } catch (error) {
    if ((error as { code?: string }).code === 'PARAPET_RBAC_FACT_IN_FILTER') return null
    throw error
  }
}

/** Replaces values that the column cannot store by NULL. */
function asRow(source: Readonly<Record<string, unknown>>) {
  return {
    owner: text(source['owner']),
    state: text(source['state']),
    size: typeof source['size'] === 'number' ? source['size'] : null,
    live: typeof source['live'] === 'boolean' ? source['live'] : null,
    at: source['at'] instanceof Date ? source['at'] : null,
    tags: Array.isArray(source['tags'])
      ? source['tags'].map((each) => (typeof each === 'string' ? each : null))
      : null,
  }
}
