/**
 * Measures decisions with a condition and no relation, against the same rule written by hand: relations must
 * cost nothing where there are none.
 */
import { systemClock } from '@parapet/kit'
import { and, definePolicy, eq, isIn, ne, or } from '@parapet/rbac'
import { goal, pairedBench } from '@parapet/testing'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

const ROWS = 1024
const STATES = ['draft', 'review', 'live']

interface Row {
  readonly tenantId: string
  readonly ownerId: string
  readonly state: string
  readonly locked: boolean
  readonly legalHold: boolean
}

const rows = Array.from({ length: ROWS }, (_, index): Row => ({
  tenantId: `t${index % 2}`,
  ownerId: `u${index % 5}`,
  state: STATES[index % 3]!,
  locked: index % 11 === 0,
  legalHold: index % 13 === 0,
}))
const principal = { id: 'u1', roles: ['editor'], tenantId: 't1' }

const policy = definePolicy({
  permissions: ['doc:write'],
  resources: {
    doc: {
      tenantId: 'string',
      ownerId: 'string',
      state: 'string',
      locked: 'boolean',
      legalHold: 'boolean',
    },
  },
  roles: {
    editor: {
      when: {
        'doc:write': ({ resource, subject }) =>
          and(
            eq(resource.tenantId, subject.tenantId),
            or(eq(resource.ownerId, subject.id), isIn(resource.state, ['draft', 'review'])),
            ne(resource.locked, true),
          ),
      },
    },
  },
  deny: [
    {
      id: 'legal-hold',
      permissions: ['doc:write'],
      when: ({ resource }) => eq(resource.legalHold, true),
    },
  ],
})

const access = new Access(
  {
    engine: new Engine(compilePolicy(policy)),
    version: 0,
    stale: false,
    grantedTo: () => undefined,
    nextChange: () => Infinity,
  },
  { facts: {}, factTimeoutMs: 1000, clock: systemClock, challenge: 'Bearer' },
  { principal, environment: () => ({ time: 0 }), subject: () => undefined, report: () => {} },
)
const node = { op: 'permission', permission: 'doc:write' } as const
const permissions = ['doc:write']
const filter = access.filter('doc:write')

function byHand({ tenantId, ownerId, state, locked, legalHold }: Row): boolean {
  return (
    tenantId === principal.tenantId &&
    (ownerId === principal.id || state === 'draft' || state === 'review') &&
    !locked &&
    !legalHold
  )
}

const count = (allows: (row: Row) => boolean) => () => {
  let allowed = 0
  for (let index = 0; index < ROWS; index++) if (allows(rows[index]!)) allowed++
  return allowed
}
const cases = {
  'by hand': count(byHand),
  'can()': count((row) => access.can('doc:write', row)),
  'decide()': count(
    (row) => (access.decide(node, permissions, row) as { allowed: boolean }).allowed,
  ),
  'filter().matches()': count((row) => filter.matches(row)),
}
if (new Set(Object.values(cases).map((body) => body())).size !== 1) {
  throw new Error('the decisions differ')
}

const result = await pairedBench({ time: 'cpu', minMs: 20, rounds: 15, cases })
console.log(`${ROWS} decisions with a condition\n${result.table}`)
// A lookup of rights, a read of the clock and the condition; the rule by hand is some nanoseconds.
goal('condition-to-hand', result.ratio('can()', 'by hand').median, 40)
