/** The options of `@parapet/input-guard`: the clock of its dates, and routes that its audit accepts. */
import type { InputGuardOptions } from '@parapet/input-guard'
import type { Ports } from '../app.ts'
import { inApi } from '../http/api.ts'

const BODILESS = [
  'DELETE /artists/:id',
  'DELETE /auth/sessions',
  'DELETE /auth/sessions/:id',
  'DELETE /console/users/:id/sessions/:session',
  'DELETE /content/:id',
  'DELETE /security/containments/:id',
  'DELETE /files/:id',
  'DELETE /users/:id',
  'DELETE /users/:id/impersonation',
  'DELETE /users/:id/lock',
  'DELETE /users/:id/second-factor-requirement',
  'DELETE /users/me',
  'DELETE /venues/:id',
  'POST /incidents/:id/acknowledge',
  'POST /incidents/:id/runs/:runId/cancel',
  'POST /incidents/:id/runs/:runId/undo',
  'POST /incidents/dead-letters/*',
  'POST /incidents/playbooks/:name/drill',
]

/** Stops the start if the input of a route is not bounded. */
export function createInputGuardOptions({ clock }: Ports): InputGuardOptions {
  const unguarded = inApi({
    ...Object.fromEntries(BODILESS.map((route) => [route, 'its handler reads no body'])),
    'POST /auth/login/second-factor': 'the verifier of passkeys reads the members it knows',
    'POST /incidents/:id/actions': 'administrators only; each action reads the parameters it knows',
    'GET /audit/events': 'administrators only; the URL bounds the cursor, which is verified',
  })
  return { audit: 'error', unguarded, ...(clock && { clock }) }
}
