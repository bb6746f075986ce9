/**
 * Makes aws-attributes.json: the attributes of the types that the Terraform files use, from the package
 * `@cdktf/provider-aws`, which is generated from the schema of the provider itself. The package is far too
 * large for a development dependency, so only its table is kept:
 *
 *   npm pack @cdktf/provider-aws && tar xzf cdktf-provider-aws-*.tgz package/.jsii package/package.json
 *   pnpm one examples/reference-server/deploy/check/terraform/extract-attributes.ts package
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { textOf, isObject, itemsOf, membersOf } from '../finding.ts'
import type { AttributeTable, Schema } from './attributes.ts'
import { readConfiguration } from './read.ts'
import { readDeployFiles } from '../all.ts'

type Members = Readonly<Record<string, unknown>>

/** Members of every construct of cdktf; they are no attributes. */
const OF_CONSTRUCTS = new Set([
  'connection',
  'count',
  'dependsOn',
  'forEach',
  'lifecycle',
  'provider',
  'provisioners',
])

/** Makes the table of the types. @param types the `types` of the package's `.jsii`. */
export function extractTable(
  source: string,
  types: Members,
  used: readonly { readonly kind: 'resource' | 'data'; readonly type: string }[],
): AttributeTable {
  const configs = new Map<string, string>()
  for (const [name, type] of Object.entries(types)) {
    const resourceType = terraformTypeOf(membersOf(type))
    if (resourceType !== undefined) configs.set(resourceType, `${name}Config`)
  }
  const tableOf = (kind: 'resource' | 'data') =>
    Object.fromEntries(
      [...new Set(used.filter((each) => each.kind === kind).map(({ type }) => type))]
        .toSorted()
        .flatMap((type): [string, Schema][] => {
          const config = configs.get(`${kind}.${type}`)
          return config === undefined ? [] : [[type, schemaOf(types, config, 0)]]
        }),
    )
  return { source, resource: tableOf('resource'), data: tableOf('data') }
}

/** The documentation of a class names the page of its type: `…/docs/resources/vpc aws_vpc}`. */
function terraformTypeOf(type: Members): string | undefined {
  if (type['kind'] !== 'class') return undefined
  const summary = textOf(membersOf(type['docs'])['summary'])
  const [, folder, name] = /\/docs\/(resources|data-sources)\/\w+ (aws_\w+)\}/.exec(summary) ?? []
  if (name === undefined) return undefined
  return `${folder === 'resources' ? 'resource' : 'data'}.${name}`
}

function schemaOf(types: Members, name: string, depth: number): Schema {
  const attributes: Record<string, boolean> = {}
  const blocks: Record<string, Schema> = {}
  for (const property of itemsOf(membersOf(types[name])['properties']).map(membersOf)) {
    const camel = String(property['name'])
    if (depth === 0 && OF_CONSTRUCTS.has(camel)) continue
    const snake = snakeOf(property, camel)
    attributes[snake] = property['optional'] !== true
    const inner = innerType(property['type'], types)
    // Statements of a firewall hold statements: three levels are enough for what is used here.
    if (inner !== undefined && depth < 7) blocks[snake] = schemaOf(types, inner, depth + 1)
  }
  return Object.keys(blocks).length === 0 ? { attributes } : { attributes, blocks }
}

/** The documentation ends in the name in Terraform: `#cidr_block`. */
function snakeOf(property: Members, camel: string): string {
  const text = JSON.stringify(property['docs'] ?? '')
  return (
    /#(\w+)[ }]/.exec(text)?.[1] ??
    camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  )
}

/** The first structure of the package that a type names: of a list, a union, or itself. */
function innerType(type: unknown, types: Members): string | undefined {
  if (!isObject(type)) return undefined
  const { fqn } = type
  if (typeof fqn === 'string')
    return membersOf(types[fqn])['kind'] === 'interface' ? fqn : undefined
  return Object.values(type)
    .flatMap((each) => (Array.isArray(each) ? (each as unknown[]) : [each]))
    .map((each) => innerType(each, types))
    .find((each) => each !== undefined)
}

async function main(folder: string): Promise<void> {
  const { name, version } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as Members
  const assembly = JSON.parse(readFileSync(join(folder, '.jsii'), 'utf8')) as Members
  const types = membersOf(assembly['types'])
  const files = new Map([...readDeployFiles()].filter(([file]) => file.endsWith('.tf')))
  const { blocks } = await readConfiguration(files)
  const table = extractTable(`${String(name)}@${String(version)}`, types, blocks)
  writeFileSync(new URL('aws-attributes.json', import.meta.url), `${JSON.stringify(table)}\n`)
}

if (process.argv[1]?.endsWith('extract-attributes.ts') === true)
  await main(process.argv[2] ?? 'package')
