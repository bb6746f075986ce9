/** Secrets from environment variables, which never change while the process runs. */
import { PARAPET_SECRETS_NOT_FOUND } from '../errors.ts'
import type { SecretsProvider } from './provider.ts'

/**
 * Makes the provider. Paths are names of variables.
 *
 * @param variables @default `process.env`
 */
export function createEnvironmentProvider(
  variables: Readonly<Record<string, string | undefined>> = process.env,
): SecretsProvider {
  return {
    name: 'environment',
    async read(path) {
      const value = variables[path]
      if (value === undefined || value === '') {
        throw new PARAPET_SECRETS_NOT_FOUND(`the variable ${path}`)
      }
      return { value, version: 'start' }
    },
  }
}
