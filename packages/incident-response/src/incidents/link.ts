/** Reads links, from wherever they come: they are shown to people. */
import { PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT } from '../errors.ts'
import type { Link } from './incident.ts'

const KINDS: readonly unknown[] = ['anomaly', 'audit', 'event', 'url'] satisfies Link['kind'][]
const MAX_ID = 2000

/** Checks a link. @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT */
export function readLink(link: Link): Link {
  const { kind, id } = Object(link) as Partial<Link>
  if (kind === undefined || !KINDS.includes(kind)) {
    refuse('"kind" of a link', `must be one of ${KINDS.join(', ')}`)
  }
  const isText = typeof id === 'string' && id.trim() !== '' && id.length <= MAX_ID
  if (!isText || !id.isWellFormed() || id.includes('\0')) {
    refuse('"id" of a link', `must be a non-empty text of at most ${MAX_ID} characters`)
  }
  // A script must not hide in it.
  if (kind === 'url' && !/^https?:\/\//.test(id)) {
    refuse('"id" of a link', 'must be an http or https URL')
  }
  return { kind, id }
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
