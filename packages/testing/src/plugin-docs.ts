/** All that the documents of one plugin have to agree with, in one call. */
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  readReadme,
  type EventDeclarations,
} from './docs.ts'
import { checkSnippets } from './snippets.ts'
import type { TestContext } from './test-context.ts'

/** What is compared with the README. */
export interface PluginDocs {
  /** The package's folder, with a `/` at its end. */
  readonly home: URL
  /** What the package exports. */
  readonly module: Readonly<Record<string, unknown>>
  /** The name under which the plugin is exported; the default export is the same function. */
  readonly plugin: string
  /** What else the package promises to export; its errors are promised by the README. */
  readonly names: readonly string[]
  readonly options: object
  readonly events: EventDeclarations
}

/**
 * The README is short, its tables tell what the code has, its examples compile, run and print what
 * they say, and the package exports what it promises and nothing else.
 */
export async function checkPluginDocs(t: TestContext, docs: PluginDocs): Promise<void> {
  const { home, module, plugin, names, options, events } = docs
  const readme = readReadme(home)
  checkReadmeLength(t, readme)
  checkOptionsTable(t, readme, options)
  checkErrorsTable(t, readme, module)
  checkEventsTable(t, readme, events)
  const errors = Object.keys(module).filter((name) => name.startsWith('PARAPET_'))
  checkPublicNames(t, module, [...errors, 'default', plugin, ...names])
  if (module['default'] === module[plugin]) t.pass('named and default export are the same function')
  else t.fail(`the default export is not ${plugin}: export one function under both names`)
  await checkSnippets(t, home)
}
