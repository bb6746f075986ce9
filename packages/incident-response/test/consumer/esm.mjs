// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import incidentResponse, {
  exportCacao,
  importCacao,
  incidentResponse as named,
} from '@parapet/incident-response'
import Fastify from 'fastify'

assert.equal(incidentResponse, named)
const app = Fastify()
await app.register(incidentResponse)
const opened = []
app.securityEvents.on('incident_response.opened', ({ details }) => opened.push(details.type))
await app.incidents.report({ type: 'data_breach' })
assert.deepEqual(opened, ['data_breach'])
const playbook = app.incidents.playbooks.get('data_breach')
assert.deepEqual(await importCacao(exportCacao(playbook)), playbook)
await app.close()
