/**
 * Decisions, filters, lists and searches give one answer, for random policies, tuples and rows: in memory, and
 * in PostgreSQL with the relations beside the rows. Where a walk is too long, they fail together.
 */
import { createManualClock, createSqlClient, type Principal, type SqlClient } from '@parapet/kit'
import {
  createMemoryRelations,
  createPostgresRelations,
  definePolicy,
  type Filter,
  type RelationStore,
  type RelationTuple,
} from '@parapet/rbac'
import { runs, usePostgres } from '@parapet/testing'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { constantPolicy, NOW, row, schema } from './arbitraries.ts'
import { dense, IDS, naive, name, scenario, USERS } from './relation-arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'
import { planRelation } from '../src/relations/relation-plan.ts'
import { listResources, type ResourceLister } from '../src/search/list-resources.ts'

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never

const TOO_MANY = 'PARAPET_RBAC_TOO_MANY_RELATIONS'
const text = (value: unknown) => (typeof value === 'string' ? value : null)

/** Four rows for each id of the relations, with attributes as the columns store them. */
const rows = fc
  .sample(row, { numRuns: 4 * IDS.length, seed: 4 })
  .map((each, index) => ({
    id: `${IDS[index % IDS.length]!}${['', '/', '//', '///'][Math.floor(index / IDS.length)]!}`,
    parent: IDS[(index + 1) % (IDS.length + 1)] ?? null,
    owner: index % 3 === 0 ? USERS[index % 2]! : text(each.owner),
    state: text(each.state),
    size: typeof each.size === 'number' ? each.size : null,
    live: typeof each.live === 'boolean' ? each.live : null,
    at: each.at instanceof Date ? each.at : null,
    tags: Array.isArray(each.tags) ? each.tags.map(text) : null,
  }))
  .toSorted((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)))

async function open(t: Test, maxVisited = 10_000) {
  const fixture = await usePostgres(t)
  if (fixture === null) return null
  const sql = createSqlClient(fixture.pool)
  const stored = await createPostgresRelations(sql, { maxVisited })
  await sql.query(`CREATE TABLE docs (id text COLLATE "C" PRIMARY KEY, parent text, owner text, state text,
    size float8, live boolean, "at" timestamptz, tags text[])`)
  for (const each of rows) {
    await sql.query('INSERT INTO docs VALUES ($1, $2, $3, $4, $5, $6, $7, $8)', Object.values(each))
  }
  return { sql, stored }
}

async function replace(sql: SqlClient, store: RelationStore, tuples: readonly RelationTuple[]) {
  await sql.query('TRUNCATE rbac_relations')
  await store.write({ add: tuples })
}

function policyOf({ relations, grant, deny }: Scenario) {
  return definePolicy({
    permissions: ['doc:read'],
    resources: { doc: { id: 'string', parent: 'string', ...schema } },
    subject: { dept: 'string', level: 'number' },
    environment: { load: 'number' },
    facts: { friend: 'boolean' },
    relations,
    roles: { r: { when: { 'doc:read': grant } } },
    deny: deny === null ? [] : [{ id: 'd', permissions: ['doc:read'], when: deny }],
  })
}

const idsOf = (found: readonly { readonly id: string }[]) => found.map(({ id }) => id)

/** Each way to the ids of the rows that a principal may read; a way that fails returns its code. */
function createWays(engine: Engine, scenario_: Scenario, relations: RelationStore, sql: SqlClient) {
  const { asked, user, tenantId } = scenario_
  const principal: Principal = { ...asked.principal, id: user, roles: ['r'], tenantId }
  const environment = { time: NOW, attributes: { load: asked.load } }
  const clock = createManualClock(NOW)
  const services = { facts: {}, relations, factTimeoutMs: 5000, clock, challenge: 'Bearer' }
  const source = {
    principal,
    environment: () => environment,
    subject: () => asked.subject,
    report: () => {},
  }
  const access = new Access(constantPolicy(engine), services, source)
  const node = { op: 'permission', permission: 'doc:read' } as const
  const select = async (filter: Filter, where = 'TRUE', limit = 1000) => {
    const { text: condition, values } = filter.sql()
    const query = `SELECT * FROM docs WHERE ${where} AND ${condition} ORDER BY id LIMIT ${limit}`
    return (await sql.query<(typeof rows)[number]>(query, values)).rows
  }
  const decided = async () => {
    const decisions = await Promise.all(
      rows.map(async (each) => access.decide(node, ['doc:read'], each)),
    )
    return idsOf(rows.filter((_, index) => decisions[index]!.allowed))
  }
  const doc: ResourceLister = ({ filter, after = '', limit }) =>
    select(filter, `id > '${after.replaceAll("'", "''")}'`, limit)
  const searched = async () => {
    const question = {
      engine,
      rights: engine.rightsOf(principal),
      permission: 0,
      type: 'doc',
      context: { principal, subject: asked.subject, resource: undefined, environment },
    }
    const limits = { clock, timeoutMs: 5000 }
    const ids: string[] = []
    let after: string | undefined
    do {
      const page = await listResources(
        { resources: { doc }, relations, limits },
        question as never,
        {
          after,
          limit: 9,
        },
      )
      ids.push(...page.ids)
      after = page.next
    } while (after !== undefined)
    return ids
  }
  return {
    decided: () => decided(),
    searched: () => searched(),
    matched: async () => {
      const filter = await access.loadFilter('doc:read')
      return idsOf(rows.filter((each) => filter.matches(each)))
    },
    selected: async () => idsOf(await select(await access.loadFilter('doc:read'))),
    joined: async () =>
      relations.subselect === undefined
        ? decided()
        : idsOf(await select(access.filter('doc:read'))),
  }
}

/** Whether nothing is allowed beyond what is allowed without a limit. */
function isSubset(found: string, right: string): boolean {
  const all = new Set(JSON.parse(right) as readonly string[])
  return (JSON.parse(found) as readonly string[]).every((id) => all.has(id))
}

/** The result, or the code of the error. The database has no codes of ours, but names them. */
async function outcomeOf(way: () => Promise<readonly string[]>): Promise<string> {
  try {
    return JSON.stringify(await way())
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string }
    if (code === TOO_MANY || (code === '54000' && message.startsWith(TOO_MANY))) return TOO_MANY
    throw error
  }
}

await t.test('10 000 policies: closure, SQL and search give one answer', async (t) => {
  const opened = await open(t)
  if (opened === null) return
  const { sql, stored } = opened
  let compared = 0
  let allowedCount = 0
  await fc.assert(
    fc.asyncProperty(scenario, async (each) => {
      const engine = new Engine(compilePolicy(policyOf(each)))
      const memory = createMemoryRelations()
      await memory.write({ add: each.tuples })
      await replace(sql, stored, each.tuples)
      const answers: Record<string, string> = {}
      for (const [kind, store] of Object.entries({ memory, stored })) {
        for (const [way, find] of Object.entries(createWays(engine, each, store, sql))) {
          answers[`${kind} ${way}`] = JSON.stringify(await find())
        }
      }
      compared += rows.length
      allowedCount += (JSON.parse(answers['memory decided']!) as readonly string[]).length
      if (new Set(Object.values(answers)).size !== 1) throw new Error(JSON.stringify(answers))
    }),
    { numRuns: runs(60, 10_000) },
  )
  t.ok(allowedCount > compared / 20, `${compared} rows compared, ${allowedCount} allowed`)
})

await t.test('checks and lists find what follows from the tuples', async (t) => {
  const opened = await open(t)
  if (opened === null) return
  const { sql, stored } = opened
  await fc.assert(
    fc.asyncProperty(scenario, async ({ relations, tuples, user }) => {
      const memory = createMemoryRelations()
      await memory.write({ add: tuples })
      await replace(sql, stored, tuples)
      const expected = naive(relations, tuples, user)
      for (const key of ['doc#r0', 'folder#r1']) {
        const plan = planRelation(relations, key)!
        const ids = IDS.filter((id) => expected.has(name(plan.type, id, plan.relation)))
        for (const store of [memory, stored]) {
          const found = await store.list(user, plan, { limit: 100 })
          const checked = await store.check(
            user,
            IDS.map((objectId) => ({ plan, objectId })),
          )
          t.same([...found.ids].toSorted(), ids.toSorted())
          t.same(
            checked,
            IDS.map((id) => ids.includes(id)),
          )
        }
      }
    }),
    { numRuns: runs(40, 3000) },
  )
})

/**
 * One limit: a list is complete or fails, a check is unknown only where a list fails, and no answer differs
 * from that without a limit. What decides row by row may know more than a list, and never something else.
 */
await t.test('beyond maxVisited, nothing disagrees', async (t) => {
  const counts = { complete: 0, failed: 0, rescued: 0 }
  for (const maxVisited of [2, 3, 4, 6, 9]) {
    await t.test(`maxVisited ${maxVisited}`, async (t) => {
      const opened = await open(t, maxVisited)
      if (opened === null) return
      const { sql, stored } = opened
      const property = fc.asyncProperty(scenario, dense.tuples, async (sparse, tuples) => {
        const each = { ...sparse, relations: dense.relations, tuples }
        const { relations, user } = each
        const engine = new Engine(compilePolicy(policyOf(each)))
        const memory = createMemoryRelations({ maxVisited })
        const unlimited = createMemoryRelations()
        await Promise.all([memory.write({ add: tuples }), unlimited.write({ add: tuples })])
        await replace(sql, stored, tuples)
        const right = JSON.stringify(await createWays(engine, each, unlimited, sql).decided())
        const expected = naive(relations, tuples, user)
        const plans = ['doc#r0', 'doc#r1'].map((key) => planRelation(relations, key)!)
        const questions = plans.flatMap((plan) => IDS.map((objectId) => ({ plan, objectId })))
        for (const store of [memory, stored]) {
          const checked = await store.check(user, questions)
          for (const plan of plans) {
            const list = await outcomeOf(
              async () => (await store.list(user, plan, { limit: 9 })).ids,
            )
            counts[list === TOO_MANY ? 'failed' : 'complete']++
            for (const [index, { plan: of, objectId }] of questions.entries()) {
              if (of !== plan) continue
              const holds = expected.has(name(plan.type, objectId, plan.relation))
              const answer = checked[index]!
              if (answer === null ? list !== TOO_MANY : answer !== holds) {
                throw new Error(JSON.stringify({ plan: plan.key, objectId, list, answer, holds }))
              }
              if (
                list !== TOO_MANY &&
                (JSON.parse(list) as unknown[]).includes(objectId) !== holds
              ) {
                throw new Error(JSON.stringify({ plan: plan.key, objectId, list, holds }))
              }
            }
          }
          const ways = createWays(engine, each, store, sql)
          const matched = await outcomeOf(ways.matched)
          const selected = await outcomeOf(ways.selected)
          const joined = await outcomeOf(ways.joined)
          const decided = await outcomeOf(ways.decided)
          const searched = await outcomeOf(ways.searched)
          const isComplete = matched !== TOO_MANY
          const hasCheck = JSON.stringify([each.grant, each.deny]).includes('subject.tenantId')
          if (decided === right && !isComplete) counts.rescued++
          const agree =
            selected === matched &&
            // A relation to a value that is no column is a check in `loadFilter`, which can be unknown, and a
            // list in `filter`.
            (store === memory || joined === TOO_MANY || joined === right) &&
            (!isComplete || matched === decided) &&
            (!isComplete || hasCheck || decided === right) &&
            isSubset(decided, right) &&
            searched === decided
          if (agree) continue
          throw new Error(JSON.stringify({ right, matched, selected, joined, decided, searched }))
        }
      })
      await fc.assert(property, { numRuns: runs(12, 600) })
    })
  }
  t.ok(
    Object.values(counts).every((count) => count > 5),
    JSON.stringify(counts),
  )
})
