/** Each attribute of the configuration exists in the AWS provider, and the required ones are there. */
import {
  createReport,
  isObject,
  itemsOf,
  membersOf,
  type Finding,
  type Report,
} from '../finding.ts'
import type { Block, Configuration } from './read.ts'

/** The attributes and nested blocks of a type. Made by extract-attributes.ts. */
export interface Schema {
  /** name → whether it is required. */
  readonly attributes: Readonly<Record<string, boolean>>
  /** Attributes whose value has members of its own: nested blocks. */
  readonly blocks?: Readonly<Record<string, Schema>>
}

/** aws-attributes.json */
export interface AttributeTable {
  /** The package and version that the table was made from. */
  readonly source: string
  readonly resource: Readonly<Record<string, Schema>>
  readonly data: Readonly<Record<string, Schema>>
}

/** What every block may have, whatever its type. */
const META = new Set(['count', 'for_each', 'provider', 'lifecycle', 'depends_on', 'dynamic'])

/** Checks every block. */
export function checkAttributes({ blocks }: Configuration, table: AttributeTable): Finding[] {
  return blocks.flatMap((block) => {
    const report = createReport(block.file)
    const schema = table[block.kind][block.type]
    const at = `${block.type}.${block.name}`
    report.expect(
      schema !== undefined,
      'type',
      `${at}: the table has no ${block.kind} ${block.type}`,
    )
    if (schema !== undefined) checkBody(report, at, withoutMeta(block), schema)
    return report.findings
  })
}

function withoutMeta({ body }: Block): Readonly<Record<string, unknown>> {
  const dynamic = Object.entries(membersOf(body['dynamic'])).map(([name, made]) => [
    name,
    itemsOf(made).flatMap((each) => itemsOf(membersOf(each)['content'])),
  ])
  const own = Object.entries(body).filter(([name]) => !META.has(name))
  return Object.fromEntries([...dynamic, ...own]) as Record<string, unknown>
}

function checkBody(
  report: Report,
  at: string,
  body: Readonly<Record<string, unknown>>,
  { attributes, blocks = {} }: Schema,
): void {
  for (const [name, isRequired] of Object.entries(attributes)) {
    report.expect(!isRequired || name in body, 'required', `${at}: ${name} is required`)
  }
  for (const [name, value] of Object.entries(body)) {
    report.expect(name in attributes, 'attribute', `${at}: the provider has no ${name}`)
    const inner = blocks[name]
    if (inner === undefined) continue
    for (const each of itemsOf(value).filter(isObject))
      checkBody(report, `${at}.${name}`, each, inner)
  }
}
