/** Why something is in force: the words of a person, of a rule, or the incident that ordered it. */
import { may } from '../api/rights.ts'
import { formatWords, shortId } from './format.ts'
import { linkTo } from './routes.ts'

const INCIDENT = /^incident ([0-9a-f-]{36})$/
const LABEL = /^([a-z_]+) \(rule ([a-z-]+)\)$/

/** The reason. */
export function Reason({ text }: { readonly text: string }) {
  const [, incident] = INCIDENT.exec(text) ?? []
  if (incident !== undefined) {
    const name = `Incident ${shortId(incident)}`
    return may('incidents:read') ? <a href={linkTo('incidents', incident)}>{name}</a> : <>{name}</>
  }
  const [, label, rule] = LABEL.exec(text) ?? []
  if (label === undefined || rule === undefined) return <>{text}</>
  return (
    <>
      {formatWords(label)}, rule {formatWords(rule)}
    </>
  )
}
