/** Terraform files as JSON, by HashiCorp's own parser (hcl2json). */
import { parseHcl } from '../hcl.ts'
import { itemsOf, membersOf } from '../finding.ts'

type Members = Readonly<Record<string, unknown>>

/** One `resource` or `data` block. */
export interface Block {
  readonly file: string
  readonly kind: 'resource' | 'data'
  readonly type: string
  readonly name: string
  readonly body: Members
}

/** All files of a folder. */
export interface Configuration {
  readonly files: ReadonlyMap<string, Members>
  readonly blocks: readonly Block[]
}

/**
 * Reads the files of a folder.
 *
 * @param texts file → text. @throws Error the syntax is wrong; the message has the place.
 */
export async function readConfiguration(
  texts: ReadonlyMap<string, string>,
): Promise<Configuration> {
  const files = new Map<string, Members>()
  for (const [file, text] of texts) files.set(file, membersOf(await parseHcl(file, text)))
  return { files, blocks: [...files].flatMap(([file, body]) => blocksOf(file, body)) }
}

function blocksOf(file: string, body: Members): Block[] {
  return (['resource', 'data'] as const).flatMap((kind) =>
    Object.entries(membersOf(body[kind])).flatMap(([type, named]) =>
      Object.entries(membersOf(named)).flatMap(([name, bodies]) =>
        itemsOf(bodies).map((each) => ({ file, kind, type, name, body: membersOf(each) })),
      ),
    ),
  )
}

/** The blocks of that name within a block; those that `dynamic` makes, too. */
export function nested(body: Members, name: string): Members[] {
  const made = itemsOf(membersOf(body['dynamic'])[name]).flatMap((each) =>
    itemsOf(membersOf(each)['content']),
  )
  return [...itemsOf(body[name]), ...made].map(membersOf)
}
