/* oxlint-disable unicorn/no-thenable -- "then" is a member of playbooks and of JSON Schema */
/**
 * The JSON Schema of playbooks. `playbook.schema.json` of the package is its copy for editors; a test compares them.
 *
 * The member that names its kind decides how a step is read, one `if` after the other, so that the errors of a step are
 * those of its kind only.
 */
import { severities } from '../incidents/incident.ts'
import { playbookPhases, stepKinds } from './playbook.ts'

const duration = {
  description: 'A whole number and a unit: 30s, 15m, 4h, 7d.',
  type: 'string',
  pattern: '^[1-9][0-9]{0,5}[smhd]$',
} as const
const name = { type: 'string', pattern: '^[A-Za-z][A-Za-z0-9_-]{0,63}$' } as const
const text = { type: 'string', minLength: 1, maxLength: 2000, pattern: '\\S' } as const
const condition = {
  description: "A comparison of names and values: severity >= 'high' AND findings > 10.",
  type: 'string',
  minLength: 1,
  maxLength: 500,
} as const
const steps = {
  type: 'array',
  items: { $ref: '#/$defs/step' },
  minItems: 1,
  maxItems: 100,
} as const
const retries = { type: 'integer', minimum: 0, maximum: 20 } as const
const onFailure = { enum: ['continue', 'stop'] } as const
const type = { type: 'string', pattern: '^[a-z][a-z0-9_]{0,63}$' } as const
const names = { type: 'array', items: name, minItems: 1, maxItems: 20, uniqueItems: true } as const

/** An object without other members. */
function closed(
  properties: Readonly<Record<string, object>>,
  required: readonly string[],
): Readonly<Record<string, unknown>> {
  return { type: 'object', properties, required, additionalProperties: false }
}

const kinds: Readonly<Record<(typeof stepKinds)[number], object>> = {
  action: closed(
    {
      action: { description: 'The name of a registered action.', ...name },
      with: { description: 'Its parameters.', type: 'object', maxProperties: 50 },
      title: text,
      timeout: duration,
      retries,
      on_failure: onFailure,
    },
    ['action'],
  ),
  manual: closed(
    { manual: { description: 'What a person must do.', ...text }, timeout: duration },
    ['manual'],
  ),
  http: closed(
    {
      http: {
        description: 'Method and URL. The option "http" of the plugin must allow its host.',
        type: 'string',
        maxLength: 2000,
        pattern: '^(GET|POST|PUT|PATCH|DELETE) https?://[^\\s]+$',
      },
      headers: { type: 'object', additionalProperties: { type: 'string' }, maxProperties: 20 },
      body: { type: 'string', maxLength: 16384 },
      title: text,
      timeout: duration,
      retries,
      on_failure: onFailure,
    },
    ['http'],
  ),
  wait: closed({ wait: duration }, ['wait']),
  undo: closed({ undo: { enum: [...playbookPhases, 'all'] } }, ['undo']),
  playbook: closed({ playbook: { description: 'The name of another playbook.', ...name } }, [
    'playbook',
  ]),
  parallel: closed({ parallel: { ...steps, minItems: 2, maxItems: 20 } }, ['parallel']),
  if: closed({ if: condition, then: steps, else: steps }, ['if', 'then']),
  while: closed(
    { while: condition, do: steps, max_rounds: { type: 'integer', minimum: 1, maximum: 100 } },
    ['while', 'do'],
  ),
  switch: closed(
    {
      switch: { description: 'The name whose value chooses the case.', ...type },
      cases: {
        type: 'object',
        minProperties: 1,
        maxProperties: 50,
        propertyNames: { pattern: '^(?!default$)[A-Za-z0-9_-]{1,64}$' },
        additionalProperties: steps,
      },
      default: steps,
    },
    ['switch', 'cases'],
  ),
}

const group = {
  description: 'A group: its title, and the steps in it.',
  type: 'object',
  minProperties: 1,
  maxProperties: 1,
  propertyNames: { minLength: 1, maxLength: 200, pattern: '\\S' },
  additionalProperties: steps,
} as const

/** `name`, then each kind by its member, then a group. */
const step = stepKinds.reduceRight<object>(
  (others, kind) => ({
    if: { type: 'object', required: [kind] },
    then: { $ref: `#/$defs/${kind}` },
    else: others,
  }),
  { $ref: '#/$defs/group' },
)

const phase = closed(
  { duration, actions: { ...steps, description: 'Steps, in their order.', minItems: 0 } },
  [],
)

/** The schema. @see JSON Schema draft-07 */
export const playbookSchema: Readonly<Record<string, unknown>> = Object.freeze({
  $schema: 'http://json-schema.org/draft-07/schema#',
  $id: 'https://parapet.dev/schemas/playbook-1.json',
  title: 'Playbook of @parapet/incident-response',
  ...closed(
    {
      name: { type: 'string', pattern: '^[a-z][a-z0-9_-]{0,63}$' },
      title: text,
      description: text,
      severity: { enum: [...severities] },
      triggers: {
        type: 'array',
        maxItems: 50,
        items: {
          if: { type: 'string' },
          then: type,
          else: closed(
            {
              type,
              min_severity: { enum: [...severities] },
              min_findings: { type: 'integer', minimum: 1, maximum: 1_000_000_000 },
            },
            ['type'],
          ),
        },
      },
      variables: {
        type: 'object',
        maxProperties: 50,
        propertyNames: { pattern: '^[a-z][a-z0-9_]{0,63}$' },
        additionalProperties: { type: ['string', 'number', 'boolean'] },
      },
      phases: {
        type: 'object',
        minProperties: 1,
        properties: Object.fromEntries(playbookPhases.map((each) => [each, phase])),
        additionalProperties: false,
      },
      notifications: closed({ immediate: names, within_1_hour: names, within_24_hours: names }, []),
    },
    ['name', 'severity', 'phases'],
  ),
  $defs: {
    step: { if: { type: 'string' }, then: name, else: step },
    ...kinds,
    group,
  },
})
