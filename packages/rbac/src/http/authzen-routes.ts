/** The routes of AuthZEN 1.0. @see AuthZEN Authorization API 1.0, section 10 */
import type { FastifyBaseLogger, FastifyError, FastifyInstance, onSendHookHandler } from 'fastify'
import { createEvaluate, type Evaluate, type EvaluateServices } from '../authzen/evaluate.ts'
import {
  endsBatch,
  readBatch,
  readEvaluation,
  type AttributeLoader,
  type Batch,
} from '../authzen/evaluation.ts'
import {
  discovery,
  evaluationRequest,
  evaluationResponse,
  evaluationsRequest,
  evaluationsResponse,
} from '../authzen/schemas.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { DeclaredRoute } from '../decide/route-rule.ts'
import { PARAPET_RBAC_MALFORMED_EVALUATION } from '../errors.ts'
import type { RbacSettings } from '../options.ts'
import { searchEndpoints, serveSearch } from './authzen-search.ts'

const DISCOVERY_PATH = '/.well-known/authzen-configuration'

/** The schemas are documentation only: no code is generated from them, and this file checks bodies. */
const compilers = {
  validatorCompiler: () => () => true,
  serializerCompiler: () => (data: unknown) => JSON.stringify(data),
}

const schemas = {
  evaluation: {
    summary: 'Decide one AuthZEN evaluation',
    description: 'Answers whether a subject may perform an action on a resource.',
    body: evaluationRequest,
    response: { 200: evaluationResponse },
  },
  evaluations: {
    summary: 'Decide a batch of AuthZEN evaluations',
    description:
      'Answers several evaluations in order. A body without evaluations is a single one.',
    body: evaluationsRequest,
    response: { 200: evaluationsResponse },
  },
  discovery: {
    summary: 'Get the AuthZEN configuration',
    description: 'Lists the addresses of the evaluation endpoints.',
    response: { 200: discovery },
  },
}

/** Repeats the request id in every reply. @see AuthZEN Authorization API 1.0, section 10.1.3 */
const echoRequestId: onSendHookHandler = (request, reply, _payload, done) => {
  const id = request.headers['x-request-id']
  if (id !== undefined) reply.header('x-request-id', id)
  done()
}

/** AuthZEN wants 400 instead of 415. The app's own error handler writes the reply. */
function replaceMediaTypeError(error: FastifyError): never {
  throw error.statusCode === 415
    ? new PARAPET_RBAC_MALFORMED_EVALUATION('the content type must be application/json')
    : error
}

/** Serves AuthZEN, if the option `authzen` is set. */
export function serveAuthzen(
  app: FastifyInstance,
  policy: PolicyInForce,
  routes: readonly DeclaredRoute[],
  settings: RbacSettings,
): void {
  const { authzen } = settings
  if (authzen === undefined) return
  const services: EvaluateServices = {
    policy,
    access: settings,
    routes,
    principalOf: authzen.subject,
    loadResource: authzen.resource,
    loadAttributes: authzen.attributes ?? subjectLoader(settings.subject),
    trustedProperties: authzen.trustedProperties,
    trustedResourceProperties: authzen.trustedResourceProperties,
  }
  const evaluate = createEvaluate(services)
  declareAuthzenRoutes(app, authzen, evaluate)
  serveSearch(app, services, evaluate, settings, { ...endpointOf(authzen), ...compilers })
}

/** The option `subject` serves AuthZEN as well, if it does not read the request. */
function subjectLoader(subject: RbacSettings['subject']): AttributeLoader | undefined {
  if (subject === undefined || subject.length > 1) return undefined
  return (principal) => subject(principal, undefined as never)
}

function declareAuthzenRoutes(
  app: FastifyInstance,
  settings: NonNullable<RbacSettings['authzen']>,
  evaluate: Evaluate,
): void {
  const { prefix, baseUrl, maxEvaluations } = settings
  const endpoint = { ...compilers, ...endpointOf(settings) }
  const paths = { evaluation: `${prefix}/evaluation`, evaluations: `${prefix}/evaluations` }

  app.post(paths.evaluation, { ...endpoint, schema: schemas.evaluation }, async ({ body }) =>
    answerOne(body, evaluate),
  )
  app.post(
    paths.evaluations,
    { ...endpoint, schema: schemas.evaluations },
    async ({ body, log }) => {
      const batch = readBatch(body, maxEvaluations)
      return batch === null ? answerOne(body, evaluate) : answerBatch(batch, evaluate, log)
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
      ...searchEndpoints(settings),
    }),
  )
}

function endpointOf({ rule }: NonNullable<RbacSettings['authzen']>) {
  return { config: { rbac: rule }, onSend: echoRequestId, errorHandler: replaceMediaTypeError }
}

async function answerOne(body: unknown, evaluate: Evaluate): Promise<{ decision: boolean }> {
  const evaluation = readEvaluation(body)
  if (typeof evaluation === 'string') throw new PARAPET_RBAC_MALFORMED_EVALUATION(evaluation)
  return { decision: await evaluate(evaluation) }
}

/**
 * Decides one evaluation after the other, because any of them may end the batch. One that fails is
 * denied; the others are still decided.
 *
 * @see AuthZEN Authorization API 1.0, section 7.2.1
 */
async function answerBatch(
  { semantic, evaluations }: Batch,
  evaluate: Evaluate,
  log: FastifyBaseLogger,
): Promise<{ evaluations: { decision: boolean }[] }> {
  const results: { decision: boolean }[] = []
  for (const evaluation of evaluations) {
    let decision = false
    try {
      if (evaluation !== null) decision = await evaluate(evaluation)
    } catch (error) {
      log.error(
        { err: error },
        'rbac denied an AuthZEN evaluation because it failed. Check "authzen.subject", "authzen.attributes" and "authzen.resource".',
      )
    }
    results.push({ decision })
    if (endsBatch(semantic, decision)) break
  }
  return { evaluations: results }
}
