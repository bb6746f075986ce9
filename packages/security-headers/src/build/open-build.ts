/** Opens the option `build`, and says what is wrong with it. */
import { PARAPET_SECURITY_HEADERS_INVALID_OPTION } from '../errors.ts'
import type { BuildSettings } from './options.ts'
import { readBuild, type Build } from './read-build.ts'

/** @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION the build cannot be used. */
export function openBuild(settings: BuildSettings): Build {
  try {
    return readBuild(settings)
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  "build" cannot be used: ${(error as Error).message}`,
    )
  }
}
