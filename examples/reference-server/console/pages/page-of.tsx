/** Which page belongs to which address. */
import { useEffect } from 'preact/hooks'
import { may } from '../api/rights.ts'
import type { Me } from '../api/types.ts'
import { NAVIGATION } from '../ui/routes.ts'
import { Empty } from '../ui/states.tsx'
import { Access } from './access.tsx'
import { Account } from './account.tsx'
import { Anomalies } from './anomalies.tsx'
import { Audit } from './audit.tsx'
import { Blocks } from './blocks.tsx'
import { Feed } from './feed.tsx'
import { Incidents } from './incidents.tsx'
import { Keys } from './keys.tsx'
import { Overview } from './overview.tsx'
import { Privacy } from './privacy.tsx'
import { Sessions } from './sessions.tsx'

/** The page of an address. */
export function PageOf({
  page,
  id,
  me,
}: {
  readonly page: string
  readonly id: string
  readonly me: Me
}) {
  const entry = NAVIGATION.flatMap(({ pages }) => pages).find(({ path }) => path === page)
  useEffect(() => {
    document.title = `${entry?.title ?? 'Not found'} · Parapet console`
  }, [page])
  if (entry?.permission !== undefined && !may(entry.permission)) {
    return (
      <>
        <h1 class="visually-hidden">{entry.title}</h1>
        <Empty
          icon="access"
          title="Not allowed"
          text={`Your roles lack the permission “${entry.permission}”.`}
        />
      </>
    )
  }
  const canChange = may('security:write')
  switch (page) {
    case '':
      return <Overview me={me} />
    case 'feed':
      return <Feed />
    case 'incidents':
      return <Incidents id={id} />
    case 'anomalies':
      return <Anomalies canChange={canChange} />
    case 'blocks':
      return <Blocks canChange={canChange} />
    case 'audit':
      return <Audit />
    case 'access':
      return <Access />
    case 'privacy':
      return <Privacy />
    case 'sessions':
      return <Sessions me={me} />
    case 'keys':
      return <Keys />
    case 'account':
      return <Account />
    default:
      return (
        <>
          <h1 class="visually-hidden">Not found</h1>
          <Empty icon="search" title="No such page" text="Choose one from the navigation." />
        </>
      )
  }
}
