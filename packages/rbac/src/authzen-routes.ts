/** The routes of AuthZEN 1.0, over HTTPS with JSON. @see AuthZEN Authorization API 1.0, section 10 */
import type { Principal } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  endsBatch,
  readBatch,
  readEvaluation,
  type AuthzenEvaluation,
  type Batch,
  type ResourceLoader,
} from './authzen.ts'
import {
  Discovery,
  EvaluationRequest,
  EvaluationResponse,
  EvaluationsRequest,
  EvaluationsResponse,
} from './authzen-schemas.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from './errors.ts'
import type { RbacSettings } from './options.ts'

/** Decides one question about a principal; the wiring knows the policy. */
export type EvaluationDecider = (
  principal: Principal,
  evaluation: AuthzenEvaluation,
  load: ResourceLoader | undefined,
) => Promise<boolean>

const MAX_REQUEST_ID = 256
const DISCOVERY_PATH = '/.well-known/authzen-configuration'

/** What Fastify is told about the bodies: documents, not code. This module checks them itself. */
const compilers = {
  validatorCompiler: () => () => true,
  serializerCompiler: () => (data: unknown) => JSON.stringify(data),
}

const schemas = {
  evaluation: { body: EvaluationRequest, response: { 200: EvaluationResponse } },
  evaluations: { body: EvaluationsRequest, response: { 200: EvaluationsResponse } },
  discovery: { response: { 200: Discovery } },
}

type Answer = (evaluation: AuthzenEvaluation) => Promise<{ decision: boolean }>

/** Declares the routes. */
export function declareAuthzenRoutes(
  app: FastifyInstance,
  settings: NonNullable<RbacSettings['authzen']>,
  decide: EvaluationDecider,
): void {
  const { prefix, baseUrl, rule, maxEvaluations } = settings
  const config = { rbac: rule }
  const paths = { evaluation: `${prefix}/evaluation`, evaluations: `${prefix}/evaluations` }

  const answer: Answer = async (evaluation) => {
    const principal = await settings.subject(evaluation.subject)
    if (principal === null) return { decision: false }
    return { decision: await decide(principal, evaluation, settings.resource) }
  }

  app.post(
    paths.evaluation,
    { ...compilers, config, schema: schemas.evaluation },
    async (request, reply) => {
      echoRequestId(request, reply)
      return answerOne(request.body, answer)
    },
  )
  app.post(
    paths.evaluations,
    { ...compilers, config, schema: schemas.evaluations },
    async (request, reply) => {
      echoRequestId(request, reply)
      const batch = readBatch(request.body, maxEvaluations)
      return batch === null ? answerOne(request.body, answer) : answerBatch(batch, answer)
    },
  )
  app.get(
    DISCOVERY_PATH,
    {
      ...compilers,
      config: { rbac: { public: 'AuthZEN discovery: addresses only' } },
      schema: schemas.discovery,
    },
    async () => ({
      policy_decision_point: baseUrl,
      access_evaluation_endpoint: `${baseUrl}${paths.evaluation}`,
      access_evaluations_endpoint: `${baseUrl}${paths.evaluations}`,
    }),
  )
}

async function answerOne(body: unknown, answer: Answer): Promise<{ decision: boolean }> {
  const evaluation = readEvaluation(body)
  if (typeof evaluation === 'string') throw new PARAPET_RBAC_MALFORMED_EVALUATION(evaluation)
  return answer(evaluation)
}

/** One after the other: the semantics may end a batch at any of them. */
async function answerBatch({ semantic, evaluations }: Batch, answer: Answer) {
  const results: { decision: boolean }[] = []
  for (const evaluation of evaluations) {
    const result = evaluation === null ? { decision: false } : await answer(evaluation)
    results.push(result)
    if (endsBatch(semantic, result.decision)) break
  }
  return { evaluations: results }
}

/** @see AuthZEN Authorization API 1.0, section 10.1.3 */
function echoRequestId(request: FastifyRequest, reply: FastifyReply): void {
  const id = request.headers['x-request-id']
  if (typeof id === 'string' && id.length <= MAX_REQUEST_ID) reply.header('x-request-id', id)
}
