/** Every check of one plugin's documents, in one call. */
import { readFileSync } from 'node:fs'
import {
  checkInstallNote,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkReferenceLink,
  readReadme,
  type EventDeclarations,
} from './docs.ts'
import { checkErrorDocs } from './error-docs.ts'
import { checkSnippets } from './snippets.ts'
import { report, type TestContext } from './test-context.ts'

/** What is compared with the README and the docblocks. */
export interface PluginDocs {
  /** The package's folder, with a `/` at its end. */
  readonly home: URL
  /** What the package exports. */
  readonly module: Readonly<Record<string, unknown>>
  /** The name under which the plugin is exported; the default export is the same function. */
  readonly plugin: string
  /** The other names that the package exports; its error classes need not be listed. */
  readonly names: readonly string[]
  readonly options: object
  readonly events: EventDeclarations
}

/**
 * Checks that the README is short, wrapped, says how CommonJS loads the package, and links the
 * generated reference page; that its table of options agrees with the code; that its examples
 * compile, run and print what it says; that every error and event is described in the code; and that
 * the package exports the listed names only.
 */
export async function checkPluginDocs(t: TestContext, docs: PluginDocs): Promise<void> {
  const { home, module, plugin, names, options, events } = docs
  const readme = readReadme(home)
  checkReadmeLength(t, readme)
  checkInstallNote(t, readme)
  checkReferenceLink(t, readme, readName(home))
  checkOptionsTable(t, readme, options)
  checkEventDescriptions(t, events)
  await checkErrorDocs(t, home, module)
  const errors = Object.keys(module).filter((name) => name.startsWith('PARAPET_'))
  checkPublicNames(t, module, [...errors, 'default', plugin, ...names])
  if (module['default'] === module[plugin]) t.pass('named and default export are the same function')
  else t.fail(`the default export is not ${plugin}: export one function under both names`)
  await checkSnippets(t, home)
}

/** Every declared event has a description, which the generated reference page prints. */
export function checkEventDescriptions(t: TestContext, events: EventDeclarations): void {
  const faults = Object.entries(events)
    .filter(([, event]) => event !== undefined && (event.description ?? '').trim() === '')
    .map(([type]) => `the event "${type}" needs a description in src/events.ts`)
  report(t, 'every event has a description', faults)
}

function readName(home: URL): string {
  const text = readFileSync(new URL('package.json', home), 'utf8')
  return (JSON.parse(text) as { readonly name: string }).name
}
