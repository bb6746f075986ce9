/** What the tests of this package share. */
import { checkPosture, type LineResult, type PostureOptions, type Report } from '@parapet/posture'
import { createManualClock } from '@parapet/kit'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'

/** Before the end of Node.js 20, so that the result does not depend on the version that runs the test. */
export const NOW = Date.UTC(2026, 0, 15)

/** An app that is closed after the test. */
export function create(t: Test, options: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify(options)
  t.after(() => app.close())
  return app
}

/** Checks an app without the variables of this process. */
export function check(app: FastifyInstance, options: PostureOptions = {}): Promise<Report> {
  return checkPosture(app, { environment: {}, clock: createManualClock(NOW), ...options })
}

/** One line of a report. */
export function lineOf(report: Report, id: string): LineResult {
  const line = report.lines.find((each) => each.id === id)
  if (line === undefined) throw new Error(`there is no line ${id}`)
  return line
}

/** The places where a line fails. */
export function placesOf(report: Report, id: string): string[] {
  return lineOf(report, id).findings.map(({ where }) => where)
}
