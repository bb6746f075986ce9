/** The cost of an event that is no finding, and of a flood of findings of one incident. */
import { createSqlClient } from '@parapet/kit'
import incidentResponse, { builtInFindings } from '@parapet/incident-response'
import { goal, pairedBench } from '@parapet/testing'
import Fastify from 'fastify'
import { Pool } from 'pg'
import { compileFindings } from '../src/findings/event-findings.ts'

const FINDINGS = 10_000

const read = compileFindings(builtInFindings)
const event = {
  id: '0190d5a0-0000-7000-8000-000000000000',
  time: 0,
  severity: 'info',
  outcome: 'success',
  details: {},
} as const
const unmatched = { ...event, type: 'sessions.refreshed' }
const shadow = { ...event, type: 'anomaly_guard.detected', details: { mode: 'shadow' } }
const result = await pairedBench({
  cases: { 'another type': () => read(unmatched), 'an anomaly in shadow': () => read(shadow) },
})
console.log(result.table)
goal('unmatched-event-us', result.cases['another type']!.median / 1000, 1)

const connectionString =
  process.env['DATABASE_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const schema = `parapet_bench_${process.pid}`
const pool = new Pool({ connectionString, options: `-c search_path=${schema}` })
await pool.query(`CREATE SCHEMA ${schema}`)
try {
  const app = Fastify()
  await app.register(incidentResponse, { sql: createSqlClient(pool), builtIn: [] })
  const start = performance.now()
  const finding = { type: 'brute_force', address: '192.0.2.1' }
  await Promise.all(Array.from({ length: FINDINGS }, () => app.incidents.report(finding)))
  const seconds = (performance.now() - start) / 1000
  const [incident, ...others] = await app.incidents.list()
  if (others.length > 0 || incident?.findings !== FINDINGS)
    throw new Error('they are not one incident')
  await app.close()
  goal('ten-thousand-findings-s', seconds, 1)
} finally {
  await pool.query(`DROP SCHEMA ${schema} CASCADE`)
  await pool.end()
}
