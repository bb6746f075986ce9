/** Files of environment variables, in layers, read by Node's own parser. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { PARAPET_SECRETS_FILE_UNREADABLE } from '../errors.ts'

/** What {@link loadEnvFiles} takes. */
export interface EnvFilesOptions {
  /** The folder of the files. @default the working folder */
  readonly directory?: string
  /** Selects `.env.<environment>`. @default `NODE_ENV` of `variables` */
  readonly environment?: string
  /** Take precedence over every file. @default `process.env` */
  readonly variables?: Readonly<Record<string, string | undefined>>
}

type Variables = Readonly<Record<string, string | undefined>>

/**
 * Reads `.env`, `.env.<environment>`, `.env.local` and `.env.<environment>.local`: a later file wins over an
 * earlier one, and a variable of the process that is not empty wins over all. In the environment `test`,
 * `.env.local` is left out, so that tests do not depend on the machine. `process.env` is not changed.
 *
 * @throws PARAPET_SECRETS_FILE_UNREADABLE a file exists and cannot be read; a missing one is none.
 */
export async function loadEnvFiles({
  directory = '.',
  variables = process.env,
  environment = variables['NODE_ENV'] ?? 'development',
}: EnvFilesOptions = {}): Promise<Variables> {
  // It becomes part of a path.
  const mode = /^[\w-]{1,64}$/.test(environment) ? environment : 'development'
  const locals = mode === 'test' ? [] : ['.env.local']
  const names = ['.env', `.env.${mode}`, ...locals, `.env.${mode}.local`]
  const merged: Record<string, string | undefined> = {}
  for (const name of names) Object.assign(merged, await readEnvFile(join(directory, name)))
  for (const [name, value] of Object.entries(variables)) {
    if (value !== undefined && value !== '') merged[name] = value
  }
  return merged
}

async function readEnvFile(file: string): Promise<Variables> {
  try {
    return parseEnv(await readFile(file, 'utf8'))
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return {}
    throw new PARAPET_SECRETS_FILE_UNREADABLE(file, code)
  }
}
