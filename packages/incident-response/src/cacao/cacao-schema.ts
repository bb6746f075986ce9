/** The form of the members of CACAO 2.0 that an import reads; others are left to the tools that use them. */
import type { ValidateFunction } from 'ajv'
import { compileSchema, pathOf } from '../playbooks/check-schema.ts'
import { playbookPhases } from '../playbooks/playbook.ts'
import { PlaybookFaults, showPath } from '../playbooks/playbook-faults.ts'
import { EXTENSION } from './cacao.ts'

const text = { type: 'string' } as const
const texts = { type: 'array', items: text } as const
const object = (properties: object, required: readonly string[] = []) =>
  ({ type: 'object', properties, required }) as const
const mapOf = (additionalProperties: object) => ({ type: 'object', additionalProperties }) as const

const command = object(
  {
    type: text,
    command: text,
    command_b64: text,
    content: text,
    content_b64: text,
    headers: mapOf(texts),
  },
  ['type'],
)
/** A mark that is misread would leave its step out. */
const mark = object({
  kind: text,
  phase: { enum: playbookPhases },
  groups: {
    type: 'array',
    items: {
      type: 'array',
      minItems: 2,
      maxItems: 2,
      items: [{ type: 'integer' }, text],
    },
  },
})
const step = object(
  {
    type: text,
    timeout: { type: 'number' },
    on_completion: text,
    on_success: text,
    on_failure: text,
    commands: { type: 'array', items: command },
    agent: text,
    condition: text,
    on_true: text,
    on_false: text,
    switch: text,
    cases: mapOf(text),
    next_steps: texts,
    playbook_id: text,
    step_extensions: object({ [EXTENSION]: mark }),
  },
  ['type'],
)
const plan = object({ duration: text, actions: { type: 'boolean' } })
const document = object({
  name: text,
  description: text,
  severity: { type: 'number' },
  playbook_variables: mapOf(
    object({ type: text, value: { type: ['string', 'null'] }, external: { type: 'boolean' } }),
  ),
  workflow_start: text,
  workflow: mapOf(step),
  agent_definitions: mapOf(object({ address: mapOf(texts), port: text })),
  playbook_extensions: object({
    [EXTENSION]: object({
      phases: {
        ...mapOf(plan),
        propertyNames: { enum: playbookPhases },
      },
    }),
  }),
})

let compiled: Promise<ValidateFunction> | undefined

/** @param file for messages. @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
export async function checkCacao(source: object, file: string): Promise<void> {
  compiled ??= compileSchema(document)
  const validate = await compiled
  if (validate(source)) return
  const faults = new PlaybookFaults((path) => `${file} (${showPath(path)})`)
  for (const { instancePath, message = 'is invalid', params } of validate.errors ?? []) {
    const { allowedValues: values } = params as { readonly allowedValues?: readonly unknown[] }
    faults.add(pathOf(instancePath), values ? `must be one of ${values.join(', ')}` : message)
  }
  faults.throwIfAny()
}
