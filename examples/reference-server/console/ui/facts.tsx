/** Names and values in two columns. */
import { formatExact } from './format.ts'

/** The facts; a value that is no text is shown as JSON. */
export function Facts({ facts }: { readonly facts: Readonly<Record<string, unknown>> }) {
  return (
    <dl class="facts">
      {Object.entries(facts)
        .filter(([, value]) => value !== undefined && value !== null && value !== '')
        .map(([name, value]) => (
          <div key={name} class="fact">
            <dt>{name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}</dt>
            <dd>{textOf(name, value)}</dd>
          </div>
        ))}
    </dl>
  )
}

/** Members that are points in time, in milliseconds. */
const TIME = /^(?:time|until|dueAt|expiresAt)$|[a-z]At$/

function textOf(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' && TIME.test(name)) return formatExact(value)
  return JSON.stringify(value)
}
