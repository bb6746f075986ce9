/** The options of `@parapet/input-guard`: the clock of its dates, and routes that its audit accepts. */
import type { InputGuardOptions } from '@parapet/input-guard'
import type { Ports } from '../app.ts'

const BODILESS = [
  'DELETE /artists/:id',
  'DELETE /auth/sessions',
  'DELETE /auth/sessions/:id',
  'DELETE /content/:id',
  'DELETE /security/containments/:id',
  'DELETE /users/:id',
  'DELETE /users/me',
]

/** Stops the start if the input of a route is not bounded. */
export function createInputGuardOptions({ clock }: Ports): InputGuardOptions {
  const unguarded = {
    ...Object.fromEntries(BODILESS.map((route) => [route, 'its handler reads no body'])),
    'POST /auth/login/second-factor': 'the verifier of passkeys reads the members it knows',
    'GET /audit/events': 'administrators only; the URL bounds the cursor, which is verified',
  }
  return { audit: 'error', unguarded, ...(clock && { clock }) }
}
