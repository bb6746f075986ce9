/** The pages, by the hash of the address. */
import type { IconName } from './icons.tsx'

/** A page in the navigation. */
export interface PageEntry {
  readonly path: string
  readonly title: string
  readonly icon: IconName
  /** The permission that its data needs, besides that of the console. */
  readonly permission?: string
}

/** The navigation, in groups. */
export const NAVIGATION: readonly {
  readonly title: string
  readonly pages: readonly PageEntry[]
}[] = [
  {
    title: 'Watch',
    pages: [
      { path: '', title: 'Overview', icon: 'overview' },
      { path: 'feed', title: 'Live feed', icon: 'feed' },
    ],
  },
  {
    title: 'Respond',
    pages: [
      { path: 'incidents', title: 'Incidents', icon: 'incidents', permission: 'incidents:read' },
      { path: 'anomalies', title: 'Anomalies', icon: 'anomalies' },
      { path: 'blocks', title: 'Block list', icon: 'blocks' },
    ],
  },
  {
    title: 'Prove',
    pages: [
      { path: 'audit', title: 'Audit trail', icon: 'audit', permission: 'audit:read' },
      { path: 'access', title: 'Access', icon: 'access' },
      { path: 'privacy', title: 'Privacy', icon: 'privacy', permission: 'privacy:manage' },
    ],
  },
  {
    title: 'Operate',
    pages: [
      { path: 'sessions', title: 'Sessions', icon: 'sessions' },
      { path: 'keys', title: 'Keys and jobs', icon: 'keys' },
      { path: 'account', title: 'Your account', icon: 'account' },
    ],
  },
]

/**
 * The page of the address: `#/incidents/1` is `['incidents', '1']`. An id becomes part of the paths of
 * requests, so a link with anything else in its place is that of no page.
 */
export function readRoute(): readonly [page: string, id: string] {
  const [, page = '', id = ''] = /^#?\/?([\w-]*)(?:\/([\w-]+))?$/.exec(location.hash) ?? ['', '?']
  return [page, id]
}

/** The address of a page. */
export function linkTo(page: string, id?: string): string {
  return `#/${page}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`
}
