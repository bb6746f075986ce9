// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const schema = require('@parapet/incident-response/playbook.schema.json')
const { incidentResponse, playbookSchema } = require('@parapet/incident-response')

async function main() {
  assert.deepEqual(schema, playbookSchema)
  const app = Fastify()
  const blocked = []
  const actions = { BLOCK_IP: async ({ with: { address } }) => void blocked.push(address) }
  await app.register(incidentResponse, { actions })
  await app.ready()
  const incident = await app.incidents.report({
    type: 'brute_force',
    address: '192.0.2.1',
    attempts: 11,
  })
  assert.equal(incident.phase, 'detection')
  while (blocked.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.deepEqual(blocked, ['192.0.2.1'])
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/incident-response'))
  assert.equal(other.incidents.playbooks.size, 9)
  await other.close()
}

main()
