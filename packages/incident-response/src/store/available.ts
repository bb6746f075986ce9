/** Says that the storage has failed, in place of the errors of its driver: they name the database, and are no 503. */
import { replaceForeignErrors } from '@parapet/kit'
import { PARAPET_INCIDENT_RESPONSE_UNAVAILABLE } from '../errors.ts'
import type { IncidentStore } from './incident-store.ts'

/** The storage, with errors that callers may see. */
export function withKnownErrors(store: IncidentStore): IncidentStore {
  const members = Object.entries(store).map(([name, each]) => [name, guarded(each)] as const)
  return Object.fromEntries<unknown>(members) as unknown as IncidentStore
}

function guarded(member: unknown): unknown {
  if (typeof member !== 'function') return member
  return (...args: unknown[]): Promise<unknown> =>
    replaceForeignErrors(
      async (): Promise<unknown> => Reflect.apply(member, undefined, args),
      (cause) => new PARAPET_INCIDENT_RESPONSE_UNAVAILABLE({ cause }),
    )
}
