// Compiled by a strict consumer against the packed declarations.
import plugin, {
  auditLog,
  defineActions,
  pii,
  sinks,
  type ActionTypes,
  type Audit,
  type AuditLogOptions,
  type AuditReceipt,
} from '@parapet/audit-log'
import Fastify from 'fastify'

const actions = defineActions({
  'report.export': { data: { rows: 'integer', ids: 'ids', note: 'text?' } },
})
const options: AuditLogOptions = {
  origin: 'example.org/audit',
  actions,
  sinks: [sinks.file({ path: 'a' })],
}
const app = Fastify()
await app.register(plugin, options)

export const decorated: Audit = app.audit
export const data: ActionTypes<typeof actions>['report.export'] = { rows: 1, ids: [1, 'a'] }
export const receipt: Promise<AuditReceipt> = app.audit.record('report.export', {
  principal: pii('u-1', { subject: 'u-1' }),
  data,
})

app.securityEvents.on('audit_log.alert_raised', ({ details, severity }) => {
  const rule: string = details.rule
  return void [rule, severity]
})
app.get('/ok', { config: { audit: 'thing.read' } }, async (request) => request.audit('thing.seen'))
app.get(
  '/both',
  { config: { audit: { action: 'a.b', phases: 'attempt+outcome' } } },
  async () => null,
)

// @ts-expect-error a field of another type
export const wrong: ActionTypes<typeof actions>['report.export'] = { rows: 'one', ids: [] }
// @ts-expect-error an action that does not exist
export type Missing = ActionTypes<typeof actions>['report.exprt']
// @ts-expect-error an option that does not exist
await app.register(auditLog, { orgin: 'example.org/audit' })
// @ts-expect-error an event that does not exist
app.securityEvents.on('audit_log.alert', () => {})
await app.close()
