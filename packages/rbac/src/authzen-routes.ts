/** The routes of AuthZEN 1.0, over HTTPS with JSON. @see AuthZEN Authorization API 1.0, section 10 */
import type { Principal } from '@parapet/kit'
import type { FastifyBaseLogger, FastifyError, FastifyInstance, onSendHookHandler } from 'fastify'
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

/** Every reply names the request it answers. @see AuthZEN Authorization API 1.0, section 10.1.3 */
const echoRequestId: onSendHookHandler = (request, reply, _payload, done) => {
  const id = request.headers['x-request-id']
  if (id !== undefined) reply.header('x-request-id', id)
  done()
}

/** A body that is no JSON is malformed here, and not of an unsupported type; the app words the reply. */
function nameError(error: FastifyError): never {
  throw error.statusCode === 415
    ? new PARAPET_RBAC_MALFORMED_EVALUATION('its content type must be application/json')
    : error
}

/** Declares the routes. */
export function declareAuthzenRoutes(
  app: FastifyInstance,
  settings: NonNullable<RbacSettings['authzen']>,
  decide: EvaluationDecider,
): void {
  const { prefix, baseUrl, rule, maxEvaluations } = settings
  const endpoint = {
    ...compilers,
    config: { rbac: rule },
    onSend: echoRequestId,
    errorHandler: nameError,
  }
  const paths = { evaluation: `${prefix}/evaluation`, evaluations: `${prefix}/evaluations` }

  const answer: Answer = async (evaluation) => {
    const principal = await settings.subject(evaluation.subject)
    if (principal === null) return { decision: false }
    return { decision: await decide(principal, evaluation, settings.resource) }
  }

  app.post(paths.evaluation, { ...endpoint, schema: schemas.evaluation }, async ({ body }) =>
    answerOne(body, answer),
  )
  app.post(
    paths.evaluations,
    { ...endpoint, schema: schemas.evaluations },
    async ({ body, log }) => {
      const batch = readBatch(body, maxEvaluations)
      return batch === null ? answerOne(body, answer) : answerBatch(batch, answer, log)
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

/**
 * One after the other: the semantics may end a batch at any of them. What fails is a no of its own.
 *
 * @see AuthZEN Authorization API 1.0, section 7.2.1
 */
async function answerBatch(
  { semantic, evaluations }: Batch,
  answer: Answer,
  log: FastifyBaseLogger,
): Promise<{ evaluations: { decision: boolean }[] }> {
  const results: { decision: boolean }[] = []
  for (const evaluation of evaluations) {
    let decision = false
    try {
      if (evaluation !== null) ({ decision } = await answer(evaluation))
    } catch (error) {
      log.error({ err: error }, 'an evaluation failed')
    }
    results.push({ decision })
    if (endsBatch(semantic, decision)) break
  }
  return { evaluations: results }
}
