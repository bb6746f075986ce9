/** The open incidents in a few lines, for the overview. */
import { listIncidents } from '../api/incidents.ts'
import { formatWords } from '../ui/format.ts'
import { useOnEvent } from '../ui/live.tsx'
import { Ago } from '../ui/moment.tsx'
import { linkTo } from '../ui/routes.ts'
import { SeverityMark } from '../ui/severity.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'

/** The lines. */
export function IncidentLines() {
  const incidents = useResource(() => listIncidents('open', 5))
  useOnEvent('incident_response.', incidents.reload)
  return (
    <Loaded resource={incidents} rows={3} absent="This server runs without incident response.">
      {(items) =>
        items.length === 0 ? (
          <Empty
            title="No open incident"
            text="An incident opens when anomalies show one attack."
          />
        ) : (
          <ul class="lines">
            {items.map(({ id, title, severity, phase, openedAt, needsPerson }) => (
              <li key={id} class="line">
                <SeverityMark severity={severity} />
                <span class="line-main">
                  <a href={linkTo('incidents', id)}>{title}</a>
                  <span class="line-sub">
                    {formatWords(phase)}
                    {needsPerson > 0 && ', waits for a person'}
                  </span>
                </span>
                <span class="line-end">
                  <Ago time={openedAt} />
                </span>
              </li>
            ))}
          </ul>
        )
      }
    </Loaded>
  )
}
