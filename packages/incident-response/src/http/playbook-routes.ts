/** Routes of playbooks: list, read, and drill. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_INCIDENT_RESPONSE_NOT_FOUND } from '../errors.ts'
import { leavesOf } from '../playbooks/program.ts'
import type { Routes } from './route-parts.ts'
import { schemas } from './schemas.ts'

export function addPlaybookRoutes(
  app: FastifyInstance,
  { incidents, programs, reading, writing }: Routes,
): void {
  app.get('/playbooks', { ...reading, schema: schemas.playbooks }, async () => ({
    items: [...incidents.playbooks.values()].map(
      ({ name, title = name, severity, triggers = [], phases }) => ({
        name,
        title,
        severity,
        triggers,
        phases: Object.keys(phases),
        needsPerson: leavesOf(programs.get(name)!.root)
          .filter(({ kind }) => kind === 'manual')
          .map((leaf) => leaf.title),
      }),
    ),
    cursor: null,
  }))
  type Query = { Params: { name: string }; Querystring: { format: 'json' | 'yaml' | 'cacao' } }
  app.get<Query>(
    '/playbooks/:name',
    { ...reading, schema: schemas.playbook },
    async (request, reply) => {
      const { name } = request.params
      if (request.query.format === 'yaml') {
        const yaml = await incidents.yamlOf(name)
        return reply.type('application/yaml; charset=utf-8').serializer(String).send(yaml)
      }
      if (request.query.format === 'cacao') return incidents.cacaoOf(name)
      const playbook = incidents.playbooks.get(name)
      if (playbook === undefined) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('playbook')
      return playbook
    },
  )
  type Named = { Params: { name: string } }
  app.post<Named>('/playbooks/:name/drill', { ...writing, schema: schemas.drill }, ({ params }) =>
    incidents.drill(params.name),
  )
}
