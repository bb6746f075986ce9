/** The rules of the routes of the console. */
import { freshFactor } from '../access/fresh-factor.ts'
import { changes } from '../logging/record-change.ts'

const common = {
  isConsole: true,
  // In lockdown, too, an operator must see what happens and be able to end it. Who watches is no anomaly.
  anomaly: { open: true, watch: false },
} as const

/** A route that only reads. */
export const watching = { ...common, rbac: 'security:read' } as const

/** A route that changes something: recorded, and after a recent second factor if the operator has one. */
export function acting(action: string) {
  return {
    ...common,
    rbac: 'security:write',
    audit: changes(action),
    mfa: freshFactor,
  } as const
}
