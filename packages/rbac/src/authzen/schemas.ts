/** The messages of AuthZEN 1.0 as JSON Schema, for the description of the routes. */

const text = { type: 'string' }
const properties = { type: 'object', additionalProperties: true }
const entity = {
  type: 'object',
  required: ['type', 'id'],
  properties: { type: text, id: text, properties },
}
const action = { type: 'object', required: ['name'], properties: { name: text, properties } }

/** One evaluation. @see AuthZEN Authorization API 1.0, section 6.1 */
export const evaluationRequest = {
  type: 'object',
  required: ['subject', 'action', 'resource'],
  properties: { subject: entity, action, resource: entity, context: properties },
}

/** Several evaluations and their common members, which each may override. @see section 7.1 */
export const evaluationsRequest = {
  type: 'object',
  properties: {
    subject: {},
    action: {},
    resource: {},
    context: {},
    evaluations: { type: 'array', items: {} },
    options: {
      type: 'object',
      properties: {
        evaluations_semantic: {
          type: 'string',
          enum: ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'],
        },
      },
    },
  },
}

/** One decision. @see section 6.2 */
export const evaluationResponse = {
  type: 'object',
  required: ['decision'],
  properties: { decision: { type: 'boolean' }, context: properties },
}

/** The decisions of a batch, in its order. @see section 7.2 */
export const evaluationsResponse = {
  type: 'object',
  required: ['evaluations'],
  properties: { evaluations: { type: 'array', items: evaluationResponse } },
}

/** A search: an evaluation without what is searched for. @see section 8 */
export const searchRequest = {
  type: 'object',
  properties: {
    subject: { type: 'object', required: ['type'], properties: { type: text, id: text } },
    action: {},
    resource: { type: 'object', required: ['type'], properties: { type: text, id: text } },
    context: properties,
    page: { type: 'object', properties: { token: text, limit: { type: 'integer', minimum: 0 } } },
  },
}

/** The entities that a search found. @see section 8.3 */
export const searchResponse = {
  type: 'object',
  required: ['results'],
  properties: {
    page: {
      type: 'object',
      required: ['next_token'],
      properties: { next_token: text, count: { type: 'integer' } },
    },
    results: { type: 'array', items: { type: 'object', additionalProperties: text } },
  },
}

/** The addresses of the endpoints. @see section 9 */
export const discovery = {
  type: 'object',
  required: ['policy_decision_point', 'access_evaluation_endpoint', 'access_evaluations_endpoint'],
  properties: {
    policy_decision_point: text,
    access_evaluation_endpoint: text,
    access_evaluations_endpoint: text,
    search_subject_endpoint: text,
    search_resource_endpoint: text,
    search_action_endpoint: text,
  },
}
