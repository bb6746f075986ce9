/** `pnpm run env`: writes `.env.example` and the table in CONFIGURATION.md; a test compares them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { renderEnvExample, renderEnvTable } from '@parapet/secrets'
import { environment } from './variables.ts'

const home = new URL('../../', import.meta.url)
const TABLE = /\| variable \|[^]*?\n(?!\|)/

/** The documents as they should be, by path. */
export function renderDocuments(): ReadonlyMap<string, string> {
  const page = readFileSync(new URL('CONFIGURATION.md', home), 'utf8')
  return new Map([
    ['CONFIGURATION.md', page.replace(TABLE, () => `${renderEnvTable(environment)}\n`)],
    ['.env.example', renderEnvExample(environment)],
  ])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of renderDocuments()) writeFileSync(new URL(path, home), text)
}
