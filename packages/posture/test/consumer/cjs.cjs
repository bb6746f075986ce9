// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { checkPosture, checklist, PARAPET_POSTURE_INVALID_OPTION } = require('@parapet/posture')

async function main() {
  const app = Fastify({ trustProxy: true })
  app.get('/', async () => 'here')
  const report = await checkPosture(app, { environment: {} })
  assert.equal(report.lines.length, checklist.length)
  assert.equal(report.lines.find(({ id }) => id === 'RAT-03').status, 'fail')
  await assert.rejects(checkPosture(app, { activ: true }), PARAPET_POSTURE_INVALID_OPTION)
  await app.close()
}

main()
