/** The options of `@parapet/input-guard`: the clock of its dates, and routes that its audit accepts. */
import type { InputGuardOptions } from '@parapet/input-guard'
import type { Ports } from '../app.ts'

/** Stops the start if the input of a route is not bounded. */
export function createInputGuardOptions({ clock }: Ports): InputGuardOptions {
  const unguarded = {
    'GET /audit/events': 'administrators only; the URL bounds the cursor, which is verified',
  }
  return { audit: 'error', unguarded, ...(clock && { clock }) }
}
