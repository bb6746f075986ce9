/** Routes that start, end and undo runs. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_INCIDENT_RESPONSE_NOT_FOUND } from '../errors.ts'
import type { IdParams, Routes } from './route-parts.ts'
import { schemas } from './schemas.ts'

type RunParams = { Params: { id: string; runId: string } }

export function addRunRoutes(app: FastifyInstance, { incidents, writing, by }: Routes): void {
  type Start = IdParams & { Body: { playbook: string } }
  app.post<Start>('/:id/runs', { ...writing, schema: schemas.startRun }, async (request, reply) => {
    const run = await incidents.run(request.params.id, request.body.playbook, by(request))
    return reply.code(201).send(run)
  })
  type Act = IdParams & { Body: { action: string; with?: Readonly<Record<string, unknown>> } }
  app.post<Act>('/:id/actions', { ...writing, schema: schemas.act }, async (request, reply) => {
    const { action, with: parameters = {} } = request.body
    const run = await incidents.act(request.params.id, action, parameters, by(request))
    return reply.code(201).send(run)
  })
  type End = { Params: { id: string; runId: string; stepId: string } } & {
    Body: { result: 'done' | 'skipped' | 'retry'; note?: string }
  }
  const ofIncident = async ({ id, runId }: { readonly id: string; readonly runId: string }) => {
    const runs = await incidents.runs(id)
    if (!runs.some((run) => run.id === runId)) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('run')
    return runId
  }
  const path = '/:id/runs/:runId'
  app.post<End>(
    `${path}/steps/:stepId`,
    { ...writing, schema: schemas.endStep },
    async (request) => {
      const { result, note } = request.body
      const runId = await ofIncident(request.params)
      return incidents.endStep(runId, request.params.stepId, result, by(request, note))
    },
  )
  app.post<RunParams>(`${path}/undo`, { ...writing, schema: schemas.undo }, async (request) =>
    incidents.undo(await ofIncident(request.params), by(request)),
  )
  app.post<RunParams>(`${path}/cancel`, { ...writing, schema: schemas.cancel }, async (request) =>
    incidents.cancelRun(await ofIncident(request.params), by(request)),
  )
}
