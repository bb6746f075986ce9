/** Verifies the password of a login by the same work, whatever the account is. */
import { takeRandom } from '@parapet/kit'
import { readForeignHash, type ForeignHash } from './foreign-hash.ts'
import {
  costOf,
  hashWith,
  MIN_LANE_KIB,
  needsRehash,
  type Argon2,
  type HashCost,
} from './hash-password.ts'
import { typedTexts } from './typed-password.ts'

/** The part of an account that is verified. */
interface Verifiable {
  readonly passwordHash: string
  readonly disabled?: boolean
}

/** The result; `renewed` is a stronger hash of a right password. */
interface Verified {
  readonly isRight: boolean
  readonly renewed?: string
}

/** See {@link createVerifier}. */
export interface Verifier {
  /** @param claim called for a right password with a hash to replace; `false`: another login does it. */
  verify<A extends Verifiable>(
    account: A | null,
    password: string,
    claim: (account: A) => boolean,
  ): Promise<Verified>
}

/** What {@link createVerifier} needs. */
export interface VerifierSettings {
  readonly library: () => Promise<Argon2>
  readonly cost: HashCost
  /** Verified where an account has no hash of its kind; `null`: no account has one. */
  readonly former: ForeignHash | null
}

/** Creates the verifier. */
export function createVerifier({ library, cost: target, former }: VerifierSettings): Verifier {
  let made: Promise<string> | undefined
  // The hash of a random password; it is verified where there is no account.
  const decoy = async (argon2: Argon2): Promise<string> => {
    made ??= hashWith(argon2, takeRandom(32).toString('base64url'), target)
    return made
  }

  return {
    async verify(account, password, claim) {
      const argon2 = await library()
      const cost = account === null ? null : costOf(account.passwordHash)
      const foreign =
        account === null || cost !== null ? null : readForeignHash(account.passwordHash)
      const texts = typedTexts(password)
      const old = foreign ?? former
      const matchesOld =
        old !== null && (await matchesAny([...texts].toReversed(), (each) => old.verify(each)))
      if (account !== null && foreign !== null) {
        const isRight = matchesOld && account.disabled !== true
        if (isRight && !claim(account)) return { isRight }
        // A wrong password costs as much, so that a former hash does not answer faster.
        const renewed = await hashWith(argon2, password, target)
        return isRight ? { isRight, renewed } : { isRight }
      }
      const spare = await decoy(argon2)
      const stored = cost === null ? spare : account!.passwordHash
      const matches = await matchesAny(texts, (each) => argon2.verify(stored, each))
      if (!matches || account === null || cost === null || account.disabled === true) {
        if (cost !== null) await addMissingWork(argon2, { cost, target }, password)
        return { isRight: false }
      }
      if (!needsRehash(stored, target) || !claim(account)) return { isRight: true }
      return { isRight: true, renewed: await hashWith(argon2, password, target) }
    },
  }
}

/** The first text is right for nearly everyone; the second one exists only beyond ASCII. */
async function matchesAny(
  texts: readonly string[],
  matches: (text: string) => Promise<boolean>,
): Promise<boolean> {
  for (const text of texts) if (await matches(text)) return true
  return false
}

/** Does the work that a weaker hash saves, so that its account does not answer faster. */
async function addMissingWork(
  library: Argon2,
  { cost, target }: { readonly cost: HashCost; readonly target: HashCost },
  password: string,
): Promise<void> {
  const { memoryKib, passes } = target
  const missing = memoryKib * passes - cost.memoryKib * cost.passes
  if (missing <= 0) return
  const memory = Math.max(MIN_LANE_KIB, Math.round(missing / passes))
  await hashWith(library, password, { memoryKib: memory, passes })
}
