/** The options of the command. */
import type { parseArgs } from 'node:util'

/** As `parseArgs` takes them. */
export const OPTIONS = {
  directory: { type: 'string' },
  dir: { type: 'string' },
  database: { type: 'string' },
  'database-url': { type: 'string' },
  pglite: { type: 'string' },
  url: { type: 'string' },
  export: { type: 'string' },
  header: { type: 'string', multiple: true },
  key: { type: 'string', multiple: true },
  checkpoint: { type: 'string' },
  retention: { type: 'string' },
  origin: { type: 'string' },
  witness: { type: 'string', multiple: true },
  'witness-url': { type: 'string' },
  proof: { type: 'string' },
  entry: { type: 'string' },
  foreign: { type: 'boolean' },
  'passphrase-env': { type: 'string' },
  'passphrase-file': { type: 'string' },
  json: { type: 'boolean' },
  yes: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** As `parseArgs` returns them. */
export type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']
