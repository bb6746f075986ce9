/** The policy and the users of the AuthZEN Todo scenario. */
import { definePolicy, eq, type AuthzenSubject } from '@parapet/rbac'

/** The users of the scenario. One letter of the subject id identifies the user. */
const people: Readonly<Record<string, readonly [string, ...string[]]>> = {
  A: ['rick@the-citadel.com', 'admin', 'evil_genius'],
  E: ['morty@the-citadel.com', 'editor'],
  I: ['summer@the-smiths.com', 'editor'],
  M: ['beth@the-smiths.com', 'viewer'],
  Q: ['jerry@the-smiths.com', 'viewer'],
}

/** Returns the principal of a subject. */
export function subject({ id }: AuthzenSubject) {
  const user = /^CiRmZD([A-Z])2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs$/.exec(id)
  const person = user === null ? undefined : people[user[1]!]
  return person === undefined ? null : { id: person[0], roles: person.slice(1) }
}

/** The policy of the scenario. */
export const todo = definePolicy({
  permissions: [
    'user:can_read_user',
    'todo:can_read_todos',
    'todo:can_create_todo',
    'todo:can_update_todo',
    'todo:can_delete_todo',
  ],
  resources: { todo: { ownerID: 'string' } },
  roles: {
    viewer: { grants: ['user:can_read_user', 'todo:can_read_todos'] },
    editor: {
      inherits: ['viewer'],
      grants: ['todo:can_create_todo'],
      when: {
        'todo:can_update_todo': (scope) => eq(scope.resource.ownerID, scope.subject.id),
        'todo:can_delete_todo': (scope) => eq(scope.resource.ownerID, scope.subject.id),
      },
    },
    admin: { inherits: ['editor'], grants: ['todo:can_delete_todo'] },
    evil_genius: { inherits: ['editor'], grants: ['todo:can_update_todo'] },
  },
})
