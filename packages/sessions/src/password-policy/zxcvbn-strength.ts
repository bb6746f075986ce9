/** The strength of a password by zxcvbn, as a hint for users. */
import type { StrengthEstimate } from './password-policy.ts'

/** zxcvbn takes time that grows with the length; what is behind only makes a password stronger. */
const MAX_CHARACTERS = 128

/**
 * Creates the estimate for the option `strength`. Needs the package `@zxcvbn-ts/core`, which is loaded with the
 * first password, and takes some milliseconds for each.
 *
 * @param options those of `ZxcvbnFactory`, such as the dictionaries of `@zxcvbn-ts/language-en`.
 */
export function createZxcvbnStrength(options: object = {}): StrengthEstimate {
  let factory: Promise<{ check(password: string, words?: string[]): { score: number } }> | undefined
  return async (password, words) => {
    factory ??= import('@zxcvbn-ts/core').then(({ ZxcvbnFactory }) => new ZxcvbnFactory(options))
    return (await factory).check(password.slice(0, MAX_CHARACTERS), [...words]).score
  }
}
