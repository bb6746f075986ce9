/**
 * The pre-production checklist as code: it walks the routes of any Fastify app by `inject`, reads its
 * settings, sources and decorators, and reports each line with evidence and a fix.
 *
 * It sends safe requests only, unless `active` is set.
 */
import type { FastifyInstance } from 'fastify'
import { checkApp } from './http/check-app.ts'
import { resolveOptions, type PostureOptions } from './options.ts'
import type { Report } from './report/report.ts'

export * from './errors.ts'
export { checklist } from './checklist/checklist.ts'
export type { Checker, Line, Severity } from './checklist/line.ts'
export { renderChecklist } from './checklist/page.ts'
export type { Finding, LineResult } from './checks/judge.ts'
export type { Status } from './checks/outcome.ts'
export type { PostureOptions, Progress } from './options.ts'
export { renderJunit } from './report/junit.ts'
export type { Report, RoleRow } from './report/report.ts'
export { renderSarif } from './report/sarif.ts'
export { renderTable, type TableSettings } from './report/table.ts'

/**
 * Checks an app. It is made ready, and not closed. `report.ok` is true where no line fails with a finding
 * that the baseline does not list.
 *
 * @throws PARAPET_POSTURE_INVALID_OPTION an option is unknown, mistyped or out of range.
 * @throws PARAPET_POSTURE_NOT_READY the app is not ready within 90 seconds.
 * @throws PARAPET_POSTURE_UNREADABLE the routes of this version of Fastify cannot be listed.
 * @throws PARAPET_POSTURE_INVALID_BASELINE the baseline file is invalid.
 */
export async function checkPosture(
  app: FastifyInstance,
  options: PostureOptions = {},
): Promise<Report> {
  return checkApp(app, resolveOptions(options), 'the app')
}
