/**
 * Sample policies of other systems, in our own words, with the decisions that those systems publish. Each sample is
 * asked through AuthZEN.
 *
 * - OpenFGA: the assertions of the stores `gdrive`, `github` and `slack` (github.com/openfga/sample-stores, commit
 *   c310a118). Two lists of groups are out of reach: searches find principals.
 * - Cedar: the 16 requests of PhotoApp, and the sessions of the tutorial of tinytodo
 *   (github.com/cedar-policy/cedar-examples, commit 5d3311dc).
 * - Cerbos: the leave requests of its tests (github.com/cerbos/cerbos, internal/test/testdata: engine/case_00 to
 *   case_02, server/checks/check_resources/cr_case_00).
 *
 * It is long because samples are data.
 */
import {
  and,
  cidr,
  createMemoryRelations,
  definePolicy,
  eq,
  gt,
  has,
  not,
  or,
  rbac,
  related,
  startsWith,
  type Policy,
  type RelationTuple,
} from '@parapet/rbac'
import Fastify from 'fastify'
import t, { type Test } from 'tap'

/** `document:1#viewer@user:ann`, as OpenFGA writes tuples. */
function parse(text: string): RelationTuple {
  const [target, who] = text.split('@') as [string, string]
  const [object, relation] = target.split('#') as [string, string]
  const [type, id] = object.split(':') as [string, string]
  const [subject, userset] = who.split('#') as [string, string | undefined]
  const [subjectType, subjectId] = subject.split(':') as [string, string]
  return {
    object: { type, id },
    relation,
    subject:
      subjectId === '*'
        ? { type: 'user', everyone: true }
        : { type: subjectType, id: subjectId, ...(userset && { relation: userset }) },
  }
}

interface Sample {
  readonly policy: Policy
  /** By id of a principal: its roles. @default the role `user` for everybody */
  readonly principals?: Readonly<Record<string, readonly string[]>>
  readonly subjects?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly resources?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly tuples?: readonly string[]
}

const entity = (text: string) => {
  const colon = text.indexOf(':')
  return { type: text.slice(0, colon), id: text.slice(colon + 1) }
}
const idsOf = ({ results }: { readonly results: readonly { readonly id: string }[] }) =>
  results.map(({ id }) => id).toSorted()

async function serve(
  t: Test,
  { policy, principals, subjects = {}, resources = {}, tuples = [] }: Sample,
) {
  const app = Fastify()
  t.after(() => app.close())
  const ids = principals === undefined ? USERS : Object.keys(principals)
  await app.register(rbac, {
    policy,
    ...(policy.relations && { relations: createMemoryRelations() }),
    authzen: {
      rule: { public: 'a test of samples' },
      baseUrl: 'https://pdp.example.com',
      subject: ({ id }) => ({ id, roles: principals === undefined ? ['user'] : principals[id]! }),
      attributes: ({ id }) => subjects[id] ?? {},
      resource: ({ id }) => ({ id, ...resources[id] }),
      subjects: () => ids.map((id) => ({ type: 'user', id })),
    },
  })
  if (tuples.length > 0) await app.rbac.relate({ add: tuples.map(parse) })
  const post = async <T>(path: string, body: object): Promise<T> => {
    const reply = await app.inject({ method: 'POST', url: `/access/v1/${path}`, body })
    if (reply.statusCode !== 200) throw new Error(reply.body)
    return reply.json<T>()
  }
  return {
    /** Whether a principal may do something with `doc:1`. */
    may: async (id: string, name: string, resource: string, context: object = {}) => {
      const body = {
        subject: { type: 'user', id },
        action: { name },
        resource: entity(resource),
        context,
      }
      return (await post<{ decision: boolean }>('evaluation', body)).decision
    },
    objects: async (id: string, name: string, type: string) =>
      idsOf(
        await post('search/resource', {
          subject: { type: 'user', id },
          action: { name },
          resource: { type },
        }),
      ),
    users: async (name: string, resource: string) =>
      idsOf(
        await post('search/subject', {
          subject: { type: 'user' },
          action: { name },
          resource: entity(resource),
        }),
      ),
  }
}

/** Everybody in the stores of OpenFGA, and one more. */
const USERS = 'amy anne beth bob catherine charles david diane emily erik zoe'.split(' ')

/** A policy in which each relation is a permission of its own, as OpenFGA checks relations. */
function policyOf(relations: NonNullable<Parameters<typeof definePolicy>[0]['relations']>) {
  const names = Object.entries(relations).flatMap(([type, members]) =>
    Object.keys(members as object).map((relation) => [type, relation] as const),
  )
  return definePolicy({
    permissions: names.map((name) => name.join(':')),
    resources: Object.fromEntries(names.map(([type]) => [type, { id: 'string' }])),
    relations,
    roles: {
      user: {
        when: Object.fromEntries(
          names.map((name) => [
            name.join(':'),
            { op: 'related', relation: name.join('#'), left: { ref: 'resource.id' } },
          ]),
        ),
      },
    },
  } as never)
}

type Check = readonly [user: string, relation: string, object: string, expected: boolean]

await t.test('OpenFGA, Google Drive', async (t) => {
  const { may, objects, users } = await serve(t, {
    policy: policyOf({
      group: { member: { direct: ['user'] } },
      folder: {
        can_create_file: { includes: ['owner'] },
        owner: { direct: ['user'] },
        parent: { direct: ['folder'] },
        viewer: {
          direct: ['user', 'user:*', 'group#member'],
          includes: ['owner', 'parent.viewer'],
        },
      },
      doc: {
        can_change_owner: { includes: ['owner'] },
        can_read: { includes: ['viewer', 'owner', 'parent.viewer'] },
        can_share: { includes: ['owner', 'parent.owner'] },
        can_write: { includes: ['owner', 'parent.owner'] },
        owner: { direct: ['user'] },
        parent: { direct: ['folder'] },
        viewer: { direct: ['user', 'user:*', 'group#member'] },
      },
    }),
    tuples: [
      'group:contoso#member@user:anne',
      'group:contoso#member@user:beth',
      'group:fabrikam#member@user:charles',
      'doc:public-roadmap#parent@folder:product-2021',
      'doc:2021-roadmap#parent@folder:product-2021',
      'folder:product-2021#viewer@group:fabrikam#member',
      'folder:product-2021#owner@user:anne',
      'doc:2021-roadmap#viewer@user:beth',
      'doc:public-roadmap#viewer@user:*',
    ],
  })
  const checks: readonly Check[] = [
    ['anne', 'can_write', 'doc:2021-roadmap', true],
    ['beth', 'can_change_owner', 'doc:2021-roadmap', false],
    ['charles', 'can_read', 'doc:2021-roadmap', true],
  ]
  for (const [user, relation, object, expected] of checks) {
    t.equal(await may(user, relation, object), expected, `${user} ${relation} ${object}`)
  }
  t.same(await objects('anne', 'can_read', 'doc'), ['2021-roadmap', 'public-roadmap'])
  t.same(await users('can_read', 'doc:2021-roadmap'), ['anne', 'beth', 'charles'])
  t.same(await users('viewer', 'doc:public-roadmap'), USERS, 'everybody')
  t.same(await users('viewer', 'doc:2021-roadmap'), ['beth'])
  t.same(await users('viewer', 'folder:product-2021'), ['anne', 'charles'])
})

await t.test('OpenFGA, GitHub', async (t) => {
  const { may, objects, users } = await serve(t, {
    policy: policyOf({
      team: { member: { direct: ['user', 'team#member'] } },
      repo: {
        admin: { direct: ['user', 'team#member'], includes: ['owner.repo_admin'] },
        maintainer: { direct: ['user', 'team#member'], includes: ['admin'] },
        owner: { direct: ['organization'] },
        reader: { direct: ['user', 'team#member'], includes: ['triager', 'owner.repo_reader'] },
        triager: { direct: ['user', 'team#member'], includes: ['writer'] },
        writer: { direct: ['user', 'team#member'], includes: ['maintainer', 'owner.repo_writer'] },
      },
      organization: {
        member: { direct: ['user'], includes: ['owner'] },
        owner: { direct: ['user'] },
        repo_admin: { direct: ['user', 'organization#member'] },
        repo_reader: { direct: ['user', 'organization#member'] },
        repo_writer: { direct: ['user', 'organization#member'] },
      },
    }),
    tuples: [
      'repo:openfga/openfga#owner@organization:openfga',
      'organization:openfga#repo_admin@organization:openfga#member',
      'organization:openfga#member@user:erik',
      'repo:openfga/openfga#admin@team:openfga/core#member',
      'repo:openfga/openfga#reader@user:anne',
      'repo:openfga/openfga#writer@user:beth',
      'team:openfga/core#member@user:charles',
      'team:openfga/core#member@team:openfga/backend#member',
      'team:openfga/backend#member@user:diane',
    ],
  })
  const checks: readonly Check[] = [
    ['anne', 'reader', 'repo:openfga/openfga', true],
    ['anne', 'triager', 'repo:openfga/openfga', false],
    ['beth', 'admin', 'repo:openfga/openfga', false],
    ['charles', 'writer', 'repo:openfga/openfga', true],
    ['diane', 'admin', 'repo:openfga/openfga', true],
    ['erik', 'reader', 'repo:openfga/openfga', true],
  ]
  for (const [user, relation, object, expected] of checks) {
    t.equal(await may(user, relation, object), expected, `${user} ${relation} ${object}`)
  }
  const readers = ['anne', 'beth', 'charles', 'diane', 'erik']
  t.same(await users('reader', 'repo:openfga/openfga'), readers)
  t.same(await users('writer', 'repo:openfga/openfga'), readers.slice(1))
  t.same(await objects('diane', 'reader', 'repo'), ['openfga/openfga'])
})

await t.test('OpenFGA, Slack', async (t) => {
  const { may, objects, users } = await serve(t, {
    policy: policyOf({
      workspace: {
        channels_admin: { direct: ['user'], includes: ['legacy_admin'] },
        guest: { direct: ['user'] },
        legacy_admin: { direct: ['user'] },
        member: { direct: ['user'], includes: ['legacy_admin', 'channels_admin'] },
      },
      channel: {
        commenter: { direct: ['user', 'workspace#member'], includes: ['writer'] },
        parent_workspace: { direct: ['workspace'] },
        writer: { direct: ['user', 'workspace#member'] },
      },
    }),
    tuples: [
      'channel:general#parent_workspace@workspace:sandcastle',
      'channel:marketing_internal#parent_workspace@workspace:sandcastle',
      'channel:proj_marketing_campaign#parent_workspace@workspace:sandcastle',
      'channel:proj_marketing_campaign#writer@workspace:sandcastle#member',
      'workspace:sandcastle#legacy_admin@user:amy',
      'workspace:sandcastle#channels_admin@user:bob',
      'workspace:sandcastle#member@user:catherine',
      'workspace:sandcastle#guest@user:david',
      'workspace:sandcastle#member@user:emily',
      'channel:marketing_internal#writer@user:bob',
      'channel:proj_marketing_campaign#writer@user:david',
      'channel:marketing_internal#writer@user:emily',
      'channel:general#writer@user:emily',
    ],
  })
  const checks: readonly Check[] = [
    ['amy', 'channels_admin', 'workspace:sandcastle', true],
    ['david', 'channels_admin', 'workspace:sandcastle', false],
    ['david', 'writer', 'channel:marketing_internal', false],
    ['emily', 'writer', 'channel:marketing_internal', true],
    ['david', 'writer', 'channel:proj_marketing_campaign', true],
    ['bob', 'writer', 'channel:general', false],
  ]
  for (const [user, relation, object, expected] of checks) {
    t.equal(await may(user, relation, object), expected, `${user} ${relation} ${object}`)
  }
  t.same(await objects('david', 'writer', 'channel'), ['proj_marketing_campaign'])
  const writers = ['amy', 'bob', 'catherine', 'david', 'emily']
  t.same(await users('writer', 'channel:proj_marketing_campaign'), writers)
})

await t.test('Cedar, PhotoApp: owners, albums, labels, judges and subjects', async (t) => {
  const { may } = await serve(t, {
    policy: definePolicy({
      permissions: ['photo:view', 'photo:edit', 'photo:delete'],
      resources: {
        photo: { owner: 'string', albums: 'string[]', labels: 'string[]', subjects: 'string[]' },
      },
      environment: { judgingSession: 'boolean' },
      roles: {
        user: {
          when: {
            'photo:*': ({ resource, subject }) => eq(resource.owner, subject.id),
            'photo:view': ({ resource, subject }) =>
              or(
                has(resource.subjects, subject.id),
                and(eq(subject.id, 'JohnDoe'), has(resource.albums, 'JaneVacation')),
              ),
          },
        },
        DoeFamily: { when: { 'photo:view': ({ resource }) => has(resource.albums, 'DoePhotos') } },
        PhotoJudge: {
          when: {
            'photo:view': ({ resource, environment }) =>
              and(has(resource.labels, 'contest'), eq(environment.judgingSession, true)),
          },
        },
      },
      deny: [
        {
          id: 'label_private',
          permissions: ['photo:*'],
          when: ({ resource, subject }) =>
            and(has(resource.labels, 'private'), not(eq(resource.owner, subject.id))),
        },
      ],
    }),
    principals: {
      JaneDoe: ['user', 'DoeFamily'],
      JohnDoe: ['user', 'DoeFamily'],
      JorgeSouza: ['user', 'PhotoJudge'],
    },
    resources: {
      'JaneDoe.jpg': { owner: 'JaneDoe', albums: ['DoePhotos'], labels: [] },
      'JohnDoe.jpg': { owner: 'JohnDoe', albums: ['DoePhotos'], labels: [] },
      'sunset.jpg': { owner: 'JaneDoe', albums: ['JaneVacation'], labels: ['contest'] },
      'nightclub.jpg': { owner: 'JaneDoe', albums: ['JaneVacation'], labels: ['private'] },
      'Judges.jpg': { owner: 'JohnDoe', albums: [], labels: [], subjects: ['JorgeSouza'] },
    },
  })
  for (const [who, action, photo, expected, context] of [
    ['JaneDoe', 'delete', 'JaneDoe', true],
    ['JaneDoe', 'edit', 'JaneDoe', true],
    ['JaneDoe', 'view', 'JaneDoe', true],
    ['JaneDoe', 'view', 'JohnDoe', true],
    ['JaneDoe', 'view', 'nightclub', true],
    ['JaneDoe', 'view', 'sunset', true],
    ['JohnDoe', 'view', 'JaneDoe', true],
    ['JohnDoe', 'view', 'JohnDoe', true],
    ['JohnDoe', 'view', 'sunset', true],
    ['JorgeSouza', 'view', 'Judges', true],
    ['JorgeSouza', 'view', 'sunset', true, { judgingSession: true }],
    ['JohnDoe', 'delete', 'JaneDoe', false],
    ['JohnDoe', 'edit', 'JaneDoe', false],
    ['JohnDoe', 'view', 'nightclub', false],
    ['JorgeSouza', 'view', 'JaneDoe', false],
    ['JorgeSouza', 'view', 'sunset', false, { judgingSession: false }],
  ] as const) {
    const title = `${who} ${action} ${photo} ${JSON.stringify(context ?? {})}`
    t.equal(await may(who, action, `photo:${photo}.jpg`, context), expected, title)
  }
})

/** The policies of tinytodo, and one of those that its tutorial adds later. */
const tinytodo = (later?: 'admins' | 'interns' | 'places') =>
  definePolicy({
    permissions: ['list:create', 'list:get', 'list:update', 'list:delete', 'list:toggle'],
    resources: { list: { id: 'string', owner: 'string', ownerLocation: 'string' } },
    subject: { location: 'string', joblevel: 'number' },
    relations: {
      team: { member: { direct: ['user', 'team#member'] } },
      list: {
        editor: { direct: ['user', 'team#member'] },
        reader: { direct: ['user', 'team#member'], includes: ['editor'] },
      },
    },
    roles: {
      user: {
        grants: ['list:create'],
        when: {
          'list:*': ({ resource, subject }) => eq(resource.owner, subject.id),
          'list:get': ({ resource }) => related('list#reader', resource.id),
          'list:update': ({ resource }) => related('list#editor', resource.id),
          'list:toggle': ({ resource }) => related('list#editor', resource.id),
        },
      },
      admin: { inherits: ['user'], grants: later === 'admins' ? ['*'] : [] },
      intern: { inherits: ['user'] },
      nobody: { grants: ['*'] },
    },
    deny: [
      {
        id: 'interns',
        permissions: ['list:create'],
        roles: [later === 'interns' ? 'intern' : 'nobody'],
      },
      {
        id: 'places',
        permissions: ['list:get', 'list:update', 'list:delete', 'list:toggle'],
        roles: [later === 'places' ? 'user' : 'nobody'],
        when: ({ resource, subject }) =>
          not(
            or(
              and(gt(subject.joblevel, 6), startsWith(subject.location, 'DEF')),
              eq(resource.ownerLocation, subject.location),
            ),
          ),
      },
    ],
  })

await t.test('Cedar, tinytodo: owners, readers, editors and teams', async (t) => {
  const people = {
    principals: { andrew: ['admin'], aaron: ['intern'], emina: ['admin'], kesha: ['user'] },
    subjects: {
      andrew: { location: 'XYZ77', joblevel: 5 },
      aaron: { location: 'ABC17', joblevel: 5 },
      emina: { location: 'DEF33', joblevel: 8 },
      kesha: { location: 'ABC17', joblevel: 5 },
    },
  }
  const teams = [
    'team:temp#member@user:kesha',
    'team:temp#member@user:andrew',
    'team:temp#member@team:interns#member',
    'team:interns#member@user:aaron',
    'team:admin#member@user:emina',
    'team:admin#member@user:andrew',
  ]
  const andrews = { '0': { owner: 'andrew', ownerLocation: 'XYZ77' } }
  const first = await serve(t, {
    ...people,
    policy: tinytodo(),
    resources: andrews,
    tuples: [...teams, 'list:0#reader@team:interns#member'],
  })
  for (const [who, action, expected] of [
    ['andrew', 'create', true],
    ['andrew', 'get', true],
    ['andrew', 'toggle', true],
    ['aaron', 'get', true],
    ['aaron', 'toggle', false],
    ['kesha', 'get', false],
  ] as const) {
    t.equal(await first.may(who, action, 'list:0'), expected, `${who} ${action}`)
  }
  const admins = await serve(t, { ...people, policy: tinytodo('admins'), resources: andrews })
  t.equal(await admins.may('emina', 'get', 'list:0'), true, 'policy 4: admins')
  t.equal(await admins.may('emina', 'delete', 'list:0'), true)
  const interns = await serve(t, { ...people, policy: tinytodo('interns') })
  t.equal(await interns.may('aaron', 'create', 'list:0'), false, 'policy 5: interns')
  t.equal(await interns.may('emina', 'create', 'list:0'), true)
  const places = await serve(t, {
    ...people,
    policy: tinytodo('places'),
    resources: { '0': { owner: 'kesha', ownerLocation: 'ABC17' } },
    tuples: [...teams, 'list:0#reader@user:andrew'],
  })
  t.equal(await places.may('kesha', 'create', 'list:0'), true)
  t.equal(await places.may('kesha', 'get', 'list:0'), true)
  t.equal(await places.may('andrew', 'get', 'list:0'), false, 'policy 6: places')
})

await t.test(
  'Cerbos, leave requests: owners, managers by place, and pending approval',
  async (t) => {
    const attributes = { geography: 'string', ownerId: 'string' } as const
    const { may } = await serve(t, {
      policy: definePolicy({
        permissions: [
          'leave_request:create',
          'leave_request:approve',
          'leave_request:delete',
          'leave_request:defer',
          'leave_request:view:public',
          'leave_request:view:private',
        ],
        resources: { leave_request: { ...attributes, status: 'string' } },
        subject: { geography: 'string', managedGeographies: 'string' },
        environment: { audience: 'string[]', customArray: 'string[]' },
        roles: {
          admin: { grants: ['leave_request:*'] },
          // What Cerbos calls derived roles are conditions of a role.
          employee: {
            grants: ['leave_request:view:public'],
            when: {
              'leave_request:create': ({ resource, subject }) => eq(resource.ownerId, subject.id),
              'leave_request:view:*': ({ resource, subject }) => eq(resource.ownerId, subject.id),
              'leave_request:defer': ({ environment }) =>
                and(
                  has(environment.audience, 'cerbos-jwt-tests'),
                  has(environment.customArray, 'A'),
                ),
            },
          },
          manager: {
            when: {
              'leave_request:view:*': ({ resource, subject }) =>
                and(
                  eq(resource.geography, subject.geography),
                  eq(resource.geography, subject.managedGeographies),
                ),
              'leave_request:approve': ({ resource, subject }) =>
                and(
                  eq(resource.geography, subject.geography),
                  eq(resource.geography, subject.managedGeographies),
                  eq(resource.status, 'PENDING_APPROVAL'),
                ),
              // Cerbos computes a place from the address by `? :`; here it is a condition.
              'leave_request:delete': ({ resource, subject, environment }) =>
                and(
                  eq(resource.geography, subject.geography),
                  eq(resource.geography, subject.managedGeographies),
                  eq(resource.geography, 'GB'),
                  cidr(environment.ip, ['10.20.0.0/16']),
                ),
            },
          },
        },
      }),
      principals: { john: ['employee'], sally: ['employee', 'manager'] },
      subjects: {
        john: { geography: 'GB' },
        sally: { geography: 'GB', managedGeographies: 'GB' },
      },
      resources: {
        XX125: { ownerId: 'john', geography: 'GB' },
        YY125: { ownerId: 'jenny', geography: 'GB' },
        pending: { ownerId: 'john', geography: 'GB', status: 'PENDING_APPROVAL' },
        XX150: { ownerId: 'john', geography: 'GB', status: 'DRAFT' },
      },
    })
    for (const [who, action, resource, expected] of [
      ['john', 'view:public', 'leave_request:XX125', true],
      ['john', 'approve', 'leave_request:XX125', false],
      ['sally', 'approve', 'leave_request:pending', true],
      ['sally', 'approve', 'leave_request:XX150', false],
      ['john', 'view:public', 'leave_request:YY125', true],
      ['john', 'approve', 'leave_request:YY125', false],
      ['john', 'view:public', 'salary_record:YY525', false],
      ['john', 'delete', 'salary_record:YY525', false],
      ['john', 'edit', 'salary_record:YY525', false],
    ] as const) {
      t.equal(await may(who, action, resource), expected, `${who} ${action} ${resource}`)
    }
  },
)
