/** The messages of AuthZEN 1.0 as schemas. Unknown members are ignored. */
import { Type } from '@sinclair/typebox'

const Properties = Type.Optional(Type.Record(Type.String(), Type.Unknown()))
const Entity = Type.Object({ type: Type.String(), id: Type.String(), properties: Properties })
const Action = Type.Object({ name: Type.String(), properties: Properties })

/** One evaluation. @see AuthZEN Authorization API 1.0, section 6.1 */
export const EvaluationRequest = Type.Object({
  subject: Entity,
  action: Action,
  resource: Entity,
  context: Properties,
})

/** Several evaluations and their common members, which each may override. @see section 7.1 */
export const EvaluationsRequest = Type.Object({
  subject: Type.Optional(Type.Unknown()),
  action: Type.Optional(Type.Unknown()),
  resource: Type.Optional(Type.Unknown()),
  context: Type.Optional(Type.Unknown()),
  evaluations: Type.Optional(Type.Array(Type.Unknown())),
  options: Type.Optional(
    Type.Object({
      evaluations_semantic: Type.Optional(
        Type.Union([
          Type.Literal('execute_all'),
          Type.Literal('deny_on_first_deny'),
          Type.Literal('permit_on_first_permit'),
        ]),
      ),
    }),
  ),
})

/** One decision. @see section 6.2 */
export const EvaluationResponse = Type.Object({
  decision: Type.Boolean(),
  context: Properties,
})

/** The decisions of a batch, in its order. @see section 7.2 */
export const EvaluationsResponse = Type.Object({ evaluations: Type.Array(EvaluationResponse) })

/** The addresses of the endpoints. @see section 9 */
export const Discovery = Type.Object({
  policy_decision_point: Type.String(),
  access_evaluation_endpoint: Type.String(),
  access_evaluations_endpoint: Type.String(),
})
