/** Finds the schema of a response. */
import type { FastifyReply } from 'fastify'
import { isNode, type SchemaNode } from '../validation/schema-tools.ts'

/** The schema by which Fastify serializes the reply. */
export function responseSchemaOf(
  responses: Readonly<Record<string, unknown>>,
  reply: FastifyReply,
): SchemaNode | undefined {
  const status = String(reply.statusCode)
  const found =
    responses[status] ??
    responses[`${status[0]}xx`] ??
    responses[`${status[0]}XX`] ??
    responses['default']
  if (!isNode(found)) return undefined
  const { content } = found
  if (!isNode(content)) return found
  const type = String(reply.getHeader('content-type') ?? 'application/json')
    .split(';', 1)[0]!
    .trim()
  const entry = content[type] ?? content['*/*']
  return isNode(entry) && isNode(entry['schema']) ? entry['schema'] : undefined
}
