/* oxlint-disable unicorn/consistent-function-scoping -- the actions are read beside what they share */
/** The options of `@parapet/incident-response`: what other plugins do for it, and who may use its routes. */
import {
  builtInFindings,
  createWebhookNotifier,
  type Action,
  type ActionCall,
  type IncidentResponseOptions,
  type IncidentRoutesOptions,
} from '@parapet/incident-response'
import type { FastifyInstance } from 'fastify'
import { freshFactor } from '../access/fresh-factor.ts'
import type { Ports } from '../app.ts'
import type { Config } from '../config/environment.ts'
import { byTwoPersons, isPerson } from './two-persons.ts'

/** Actions are wired here only: no plugin knows another. */
export function createIncidentOptions(
  app: FastifyInstance,
  config: Config,
  ports: Ports,
): IncidentResponseOptions {
  return {
    sql: app.sql,
    jobs: app.jobs,
    ...(ports.clock !== undefined && { clock: ports.clock }),
    actions: { ...responses(app), ...playbookActions(app) },
    notifiers: notifiersOf(config),
    findings: [
      // An export of everything is a breach here: the data is personal.
      {
        on: 'anomaly_guard.incident_opened',
        type: 'data_breach',
        severity: 'critical',
        when: isExport,
      },
      ...builtInFindings,
    ],
  }
}

function isExport({ details }: { readonly details: Readonly<Record<string, unknown>> }): boolean {
  return details['pattern'] === 'data_exfiltration' && Number(details['confidence']) >= 0.8
}

/** The signed webhook of the configuration, if there is one. */
function notifiersOf({
  incidentWebhookUrl: url,
  incidentWebhookSecret: secret,
}: Config): NonNullable<IncidentResponseOptions['notifiers']> {
  if (url === undefined || secret === undefined) return {}
  return { security_team: createWebhookNotifier({ url, secrets: [secret] }) }
}

const BY = 'incident-response'

/** What the table of responses names. */
function responses(app: FastifyInstance): Record<string, Action> {
  const { contain } = app.anomaly
  const because = ({ incident, with: { ttlMs } }: ActionCall) => ({
    reason: `incident ${incident.id}`,
    by: BY,
    ...(typeof ttlMs === 'number' && { ttlMs }),
  })
  const lift = async (_call: ActionCall, id: unknown) => {
    if (typeof id === 'string') await contain.lift(id, { by: BY })
  }
  const measure = (
    put: (
      call: ActionCall,
    ) => Promise<{ readonly containment?: { readonly id: string } | undefined }>,
  ): Action => ({
    // The same measure again is the same containment.
    isRepeatable: true,
    run: async (call) => {
      const { containment } = await put(call)
      const summary = containment === undefined ? 'the target is spared' : 'in force'
      return { summary, undoWith: containment?.id ?? null }
    },
    undo: lift,
    dryRun: async () => 'can be put in force',
  })
  const address = (call: ActionCall) => textOf(call, 'address')
  const principal = (call: ActionCall) => textOf(call, 'principalId')
  return {
    BLOCK_IP: measure((call) => contain.blockAddress(address(call), because(call))),
    ENABLE_CAPTCHA: measure((call) => contain.challenge(address(call), because(call))),
    RATE_LIMIT: measure((call) => {
      const target =
        call.with['principalId'] === undefined
          ? `address:${address(call)}`
          : `principal:${principal(call)}`
      return contain.tighten(target, { ...because(call), factor: 0.1 })
    }),
    DISABLE_ACCOUNT: measure((call) => contain.blockPrincipal(principal(call), because(call))),
    REVOKE_SESSIONS: measure((call) => contain.revoke(principal(call), because(call))),
    READ_ONLY: measure((call) => contain.readOnly(because(call))),
    FULL_LOCKDOWN: byTwoPersons(
      measure((call) => {
        const { by, ...request } = because(call)
        // Without persons, two open incidents of different patterns must justify it.
        const incidents = app.anomaly.incidents().map(({ id }) => id)
        return contain.lockdown(isPerson(call.by) ? { ...request, by } : { ...request, incidents })
      }),
      { name: 'FULL_LOCKDOWN', store: app.store },
    ),
  }
}

/** What the built-in playbooks name; the rest is the work of a person. */
function playbookActions(app: FastifyInstance): Record<string, Action> {
  const { contain } = app.anomaly
  const reason = ({ incident }: ActionCall) => `incident ${incident.id}`
  const all = async (
    ids: readonly { readonly id: string }[],
    put: (id: string) => Promise<unknown>,
  ) => {
    for (const { id } of ids) await put(id)
    return { summary: `${ids.length} of ${ids.length}` }
  }
  const request = (call: ActionCall) => ({ reason: reason(call), by: BY })
  const of = (run: Action['run']): Action => ({
    run,
    isRepeatable: true,
    dryRun: async () => 'would work',
  })
  return {
    terminate_sessions: of((call) =>
      all(call.incident.principals, (userId) => app.sessions.revoke({ userId }, reason(call))),
    ),
    block_accounts: of((call) =>
      all(call.incident.principals, (id) => contain.blockPrincipal(id, request(call))),
    ),
    block_addresses: of((call) =>
      all(call.incident.addresses, (id) => contain.blockAddress(id, request(call))),
    ),
    enable_captcha: of((call) =>
      all(call.incident.addresses, (id) => contain.challenge(id, request(call))),
    ),
    tighten_limits: of((call) =>
      all(call.incident.addresses, (id) => contain.tighten(`address:${id}`, request(call))),
    ),
    read_only: of(async (call) => {
      await contain.readOnly(request(call))
      return { summary: 'changes are refused for an hour' }
    }),
    verify_integrity: verifyIntegrity(app),
  }
}

/** A large log takes minutes. What is wrong with it does not change by another attempt. */
const VERIFY_MS = 600_000

/** Verifies the whole audit log, so that a report about an incident can be trusted, or not. */
function verifyIntegrity(app: FastifyInstance): Action {
  return {
    isRepeatable: true,
    timeoutMs: VERIFY_MS,
    retries: 0,
    dryRun: async () => `reads the log, ${(await app.audit.status()).size} entries`,
    async run({ signal, incident }) {
      let logged = 0
      const onProgress = (done: number, size: number): void => {
        const percent = Math.floor((done / Math.max(1, size)) * 10) * 10
        if (percent <= logged) return
        logged = percent
        app.log.info({ incident: incident.id, percent }, 'the audit log is being verified')
      }
      await app.audit.flush()
      const { exitCode, entries, checkpoints, counts } = await app.audit.verify({
        signal,
        onProgress,
      })
      if (exitCode === 0)
        return { summary: `${entries} records, ${checkpoints} checkpoints verify` }
      const found = Object.entries(counts).map(([kind, count]) => `${kind} ${count}`)
      throw new Error(`the audit log does not verify: ${found.join(', ')}`)
    },
  }
}

function textOf({ with: parameters }: ActionCall, name: string): string {
  const value = parameters[name]
  if (typeof value === 'string') return value
  throw new Error(`the action needs "${name}"`)
}

/** The routes require the permissions `incidents:read` and `incidents:write`. */
export const incidentRoutes: Omit<IncidentRoutesOptions, 'prefix'> = {
  guard: (request, access) => request.rbac.can(`incidents:${access}`),
  config: (access) => ({
    rbac: `incidents:${access}`,
    // In lockdown, too, operators work on what caused it, and can undo it.
    anomaly: { open: true },
    ...(access === 'write' && { audit: 'incident.change', mfa: freshFactor }),
  }),
}
