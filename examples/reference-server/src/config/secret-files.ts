/** Secrets in files, as Docker and Kubernetes mount them: each replaces the variable of its name. */
import { createFileProvider, PARAPET_SECRETS_NOT_FOUND } from '@parapet/secrets'
import { environment } from './variables.ts'

type Variables = Readonly<Record<string, string | undefined>>

/** The variables that hold secrets. */
const names = Object.entries(environment.schema.properties)
  .filter(([, variable]) => (variable as { readonly secret?: boolean }).secret === true)
  .map(([name]) => name)

/**
 * Adds the files in `SECRETS_DIR` to the variables.
 *
 * @throws PARAPET_SECRETS_PROVIDER_FAILED a file exists and cannot be read.
 */
export async function withSecretFiles(variables: Variables): Promise<Variables> {
  const { SECRETS_DIR: directory } = variables
  if (directory === undefined || directory === '') return variables
  const files = createFileProvider({ directory })
  const found: Record<string, string> = {}
  for (const name of names) {
    try {
      found[name] = (await files.read(name)).value
    } catch (error) {
      if (!(error instanceof PARAPET_SECRETS_NOT_FOUND)) throw error
    }
  }
  return { ...variables, ...found }
}
