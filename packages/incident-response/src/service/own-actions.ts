/** Actions that every service has, and the one behind steps of kind `http`. */
import type { Action, ActionCall } from '../actions/action.ts'
import { refuseTarget } from '../notify/safe-target.ts'
import { sendToTarget } from '../notify/post-json.ts'

/** Records that a response was due, and does nothing. */
export const logOnly: Action = {
  run: async () => ({ summary: 'recorded, nothing else was done' }),
  dryRun: async () => 'records it',
  isRepeatable: true,
}

/** Reminds of the report, which is written when it is read. */
export const postMortem: Action = {
  run: async ({ incident }) => ({ summary: `the report of ${incident.id} can be read` }),
  dryRun: async () => 'the report can be read at any time',
  isRepeatable: true,
}

/** @returns why a URL may not be called, or `undefined`. */
export function refuseHttpStep(url: string, hosts: readonly string[]): string | undefined {
  const problem = refuseTarget(url, false)
  if (problem !== undefined) return `the URL ${problem}`
  const { hostname } = new URL(url)
  return hosts.includes(hostname) ? undefined : `the host "${hostname}" is not one of "httpHosts"`
}

/** They say where a request goes and where it ends: an allowed address would pass it on to a host that is not. */
const OWN_HEADERS =
  /^(?:host|content-length|transfer-encoding|connection|upgrade|te|trailer|expect|idempotency-key|proxy-.*|x-forwarded-host)$/i

function headersOf({ headers = {} }: ActionCall['with']): Readonly<Record<string, string>> {
  const given = headers as Readonly<Record<string, string>>
  const refused = Object.keys(given).find((name) => OWN_HEADERS.test(name))
  if (refused !== undefined) throw new Error(`the header "${refused}" must not be set`)
  return given
}

/** Calls another service, at an allowed host and a public address. The key is sent as `Idempotency-Key`. */
export function createHttpAction(hosts: readonly string[]): Action {
  const urlOf = (parameters: ActionCall['with']): string => {
    const url = String(parameters['url'])
    const problem = refuseHttpStep(url, hosts)
    if (problem !== undefined) throw new Error(problem)
    return url
  }
  return {
    async run({ with: parameters, key, signal }) {
      const { method, body } = parameters
      const status = await sendToTarget({
        method: String(method),
        url: urlOf(parameters),
        headers: { ...headersOf(parameters), 'idempotency-key': key },
        body: typeof body === 'string' ? body : '',
        signal,
        allowPrivate: false,
      })
      if (status < 200 || status >= 300) throw new Error(`the status was ${status}`)
      return { summary: `answered with ${status}` }
    },
    async dryRun({ with: parameters }) {
      headersOf(parameters)
      return `${String(parameters['method'])} ${urlOf(parameters)}`
    },
  }
}
