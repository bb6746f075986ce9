/**
 * Measures decisions against hand-written data structures and other libraries, with the same policies
 * and the same questions in one process.
 */
import { AbilityBuilder, createMongoAbility } from '@casl/ability'
import { systemClock, type Principal } from '@parapet/kit'
import { definePolicy } from '@parapet/rbac'
import { goal, pairedBench, type BenchResult } from '@parapet/testing'
import { AccessControl } from 'accesscontrol'
import { StringAdapter, newEnforcer, newModelFromString } from 'casbin'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'
import { readRule, type RouteRule } from '../src/decide/route-rule.ts'
import { RuleGuard } from '../src/decide/rule-guard.ts'

const QUERIES = 1024
const DEPTH = 5

interface Question {
  readonly principal: Principal
  readonly permission: string
}

/** Returns pseudo-random numbers that are the same in every run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

interface Role {
  readonly name: string
  readonly inherits: readonly string[]
  readonly grants: readonly string[]
}

/** A small policy: three roles, each with more permissions than the one before. */
function mapRoles(permissions: readonly string[]): Role[] {
  return [2, 4, 6].map((count, i) => ({
    name: `role${i}`,
    inherits: [],
    grants: permissions.slice(0, count),
  }))
}

/** Chains of roles with ten own permissions each. */
function chainRoles(
  roleCount: number,
  permissions: readonly string[],
  random: (below: number) => number,
): Role[] {
  return Array.from({ length: roleCount }, (_, i) => ({
    name: `role${i}`,
    inherits: i % DEPTH === 0 ? [] : [`role${i - 1}`],
    grants: [
      ...new Set(Array.from({ length: 10 }, () => permissions[random(permissions.length)]!)),
    ],
  }))
}

/** A policy, principals with two roles, and questions of which 60 % are granted. */
function createCase(roleCount: number, permissionCount: number) {
  const random = createRandom(7)
  const permissions = Array.from({ length: permissionCount }, (_, i) => `res${i}:read`)
  const roles = roleCount === 3 ? mapRoles(permissions) : chainRoles(roleCount, permissions, random)
  const flat = new Map<string, Set<string>>()
  for (const { name, inherits, grants } of roles) {
    flat.set(name, new Set([...grants, ...inherits.flatMap((parent) => [...flat.get(parent)!])]))
  }
  const principals = Array.from({ length: 64 }, (_, i): Principal => {
    const first = random(roleCount)
    return {
      id: `u${i}`,
      roles: [`role${first}`, `role${(first + 1 + random(roleCount - 1)) % roleCount}`],
    }
  })
  const questions = Array.from({ length: QUERIES }, (): Question => {
    const principal = principals[random(principals.length)]!
    const granted = [...flat.get(principal.roles[random(2)]!)!]
    const hit = random(10) < 6
    return {
      principal,
      permission: hit ? granted[random(granted.length)]! : permissions[random(permissionCount)]!,
    }
  })
  const policy = definePolicy({
    permissions,
    roles: Object.fromEntries(
      roles.map(({ name, inherits, grants }) => [name, { inherits, grants }]),
    ),
  })
  return { permissions, roles, flat, principals, questions, policy }
}

type Case = ReturnType<typeof createCase>

/** The lower bound: permission and rights resolved in advance, one load and one AND. */
function handBitset({ permissions, flat, principals, questions }: Case): () => number {
  const rows = new Map(
    principals.map(({ id, roles }) => {
      const bits = new Uint32Array(Math.ceil(permissions.length / 32))
      for (const [index, permission] of permissions.entries()) {
        if (roles.some((role) => flat.get(role)!.has(permission)))
          bits[index >>> 5]! |= 1 << (index & 31)
      }
      return [id, bits]
    }),
  )
  const index = new Map(permissions.map((permission, id) => [permission, id]))
  const plan = questions.map(({ principal, permission }) => {
    const id = index.get(permission)!
    return { bits: rows.get(principal.id)!, word: id >>> 5, mask: 1 << (id & 31) }
  })
  return () => {
    let allowed = 0
    for (let i = 0; i < QUERIES; i++) {
      const { bits, word, mask } = plan[i]!
      if ((bits[word]! & mask) !== 0) allowed++
    }
    return allowed
  }
}

/** Hand-written implementations. */
function handMap({ permissions, flat, questions }: Case): () => number {
  const map = new Map(
    permissions.map((permission) => [
      permission,
      new Set([...flat].filter(([, granted]) => granted.has(permission)).map(([role]) => role)),
    ]),
  )
  return () => {
    let allowed = 0
    for (let i = 0; i < QUERIES; i++) {
      const { principal, permission } = questions[i]!
      const roles = map.get(permission)!
      for (const role of principal.roles) {
        if (roles.has(role)) {
          allowed++
          break
        }
      }
    }
    return allowed
  }
}

function accessFor(engine: Engine, principal: Principal): Access {
  return new Access(
    { engine, version: 0, stale: false, grantedTo: () => undefined, nextChange: () => Infinity },
    { facts: {}, factTimeoutMs: 1000, clock: systemClock, challenge: 'Bearer' },
    {
      principal,
      environment: () => ({ time: 0 }),
      subject: () => undefined,
      report: () => {},
    },
  )
}

/** The three decisions of this plugin. */
function parapet({ permissions, policy, questions }: Case) {
  const engine = new Engine(compilePolicy(policy))
  // One guard for each route, as in the plugin.
  const guards = new Map(
    permissions.map((each) => [each, new RuleGuard((readRule(each) as RouteRule).node, engine)]),
  )
  const guarded = questions.map(({ principal, permission }) => ({
    guard: guards.get(permission)!,
    rights: engine.rightsOf(principal),
  }))
  const plan = questions.map(({ principal, permission }) => ({
    access: accessFor(engine, principal),
    roles: principal.roles,
    principal,
    permission,
  }))
  return {
    guard: () => {
      let allowed = 0
      for (let i = 0; i < QUERIES; i++) {
        const { guard, rights } = guarded[i]!
        if (guard.isAllowed(rights)) allowed++
      }
      return allowed
    },
    can: () => {
      let allowed = 0
      for (let i = 0; i < QUERIES; i++) {
        const { access, permission } = plan[i]!
        if (access.can(permission)) allowed++
      }
      return allowed
    },
    perRequest: () => {
      let allowed = 0
      for (let i = 0; i < QUERIES; i++) {
        const { principal, permission } = plan[i]!
        if (accessFor(engine, principal).can(permission)) allowed++
      }
      return allowed
    },
    stateless: () => {
      let allowed = 0
      for (let i = 0; i < QUERIES; i++) {
        const { roles, permission } = plan[i]!
        const id = engine.permissionIds.get(permission)
        if (id !== undefined && engine.rolesAllow(roles, id)) allowed++
      }
      return allowed
    },
  }
}

/** Libraries, measured with fewer questions because they are slower. */
async function peers({
  roles,
  flat,
  questions,
}: Case): Promise<Record<string, () => boolean | Promise<boolean>>> {
  let next = 0
  const take = (): Question => questions[(next = (next + 1) % QUERIES)]!

  const casl = (): boolean => {
    const { principal, permission } = take()
    const { can, build } = new AbilityBuilder(createMongoAbility)
    for (const role of principal.roles) {
      for (const granted of flat.get(role)!) can('read', granted.slice(0, -5))
    }
    return build().can('read', permission.slice(0, -5))
  }

  const grants = Object.fromEntries(
    [...flat].map(([role, granted]) => [
      role,
      Object.fromEntries(
        [...granted].map((each) => [each.slice(0, -5), { read: [{ attributes: ['*'] }] }]),
      ),
    ]),
  )
  const control = new AccessControl(grants)
  const accesscontrol = (): boolean => {
    const { principal, permission } = take()
    return control.can([...principal.roles]).readAny(permission.slice(0, -5)).granted
  }

  const lines = [
    ...roles.flatMap(({ name, grants: own }) =>
      own.map((each) => `p, ${name}, ${each.slice(0, -5)}, read`),
    ),
    ...roles.flatMap(({ name, inherits }) => inherits.map((parent) => `g, ${name}, ${parent}`)),
    ...[...new Set(questions.map(({ principal }) => principal))].flatMap(({ id, roles: held }) =>
      held.map((role) => `g, ${id}, ${role}`),
    ),
  ]
  // The RBAC model of casbin's own documentation.
  const model = newModelFromString(
    `[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n[role_definition]\ng = _, _\n` +
      `[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n`,
  )
  const enforcer = await newEnforcer(model, new StringAdapter(lines.join('\n')))
  const casbin = (): Promise<boolean> => {
    const { principal, permission } = take()
    return enforcer.enforce(principal.id, permission.slice(0, -5), 'read')
  }
  return { casl, accesscontrol, casbin }
}

function checkAnswers(name: string, counts: readonly number[]): void {
  if (new Set(counts).size !== 1)
    throw new Error(`${name}: the decisions differ: ${counts.join(', ')}`)
}

/** Returns the time of one decision of `name` divided by that of `base`. */
function times(result: BenchResult, name: string, base: string, batch = 1): number {
  return result.ratio(name, base).median * batch
}

const sizes = [
  ['3x6', 3, 6],
  ['100x1000', 100, 1000],
  ['1000x10000', 1000, 10_000],
] as const
const canOfSize: Record<string, () => unknown> = {}

for (const [size, roleCount, permissionCount] of sizes) {
  const theCase = createCase(roleCount, permissionCount)
  const ours = parapet(theCase)
  const fast = {
    bitset: handBitset(theCase),
    map: handMap(theCase),
    'route guard': ours.guard,
    'can()': ours.can,
    'can(), Access made for it': ours.perRequest,
    'hasPermission()': ours.stateless,
  }
  checkAnswers(
    size,
    Object.values(fast).map((body) => body()),
  )
  const result = await pairedBench({ time: 'cpu', minMs: 20, rounds: 15, cases: fast })
  console.log(`${size}, ${QUERIES} decisions\n${result.table}`)
  goal(`guard-to-bitset-${size}`, times(result, 'route guard', 'bitset'), 2)
  goal(`guard-to-map-${size}`, times(result, 'route guard', 'map'), 0.25)
  canOfSize[size] = ours.can

  const slow = await pairedBench({
    time: 'cpu',
    minMs: 20,
    rounds: 7,
    cases: { 'can()': ours.can, ...(await peers(theCase)) },
  })
  console.log(`${size}: can() is ${QUERIES} decisions, the others one\n${slow.table}`)
  goal(`casl-to-can-${size}`, times(slow, 'casl', 'can()', QUERIES), 15, 'at-least')
  if (size === '3x6')
    goal('casbin-to-can-3x6', times(slow, 'casbin', 'can()', QUERIES), 2000, 'at-least')
}

// In the rounds of one run: a slow phase of the machine slows all sizes.
const growth = await pairedBench({ time: 'cpu', minMs: 20, rounds: 15, cases: canOfSize })
console.log(`can() by the size of the policy, ${QUERIES} decisions\n${growth.table}`)
goal('can-growth-6-to-10000', times(growth, '1000x10000', '3x6'), 2)

const { policy: large } = createCase(1000, 10_000)
const compiling = await pairedBench({
  time: 'cpu',
  minMs: 50,
  rounds: 9,
  cases: { 'compile 1000x10000': () => new Engine(compilePolicy(large)) },
})
console.log(compiling.table)
goal('compile-1000x10000-ms', compiling.cases['compile 1000x10000']!.median / 1e6, 50)
