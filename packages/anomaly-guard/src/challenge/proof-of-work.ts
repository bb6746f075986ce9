/**
 * Challenges that cost a client computing time: made and checked by `altcha-lib`. A challenge is signed, is for
 * one client and for a few minutes, and its answer counts once.
 *
 * @see docs/adr/0902-innocent-until-promoted.md
 */
import { createHmac, randomInt } from 'node:crypto'
import type { Challenge } from 'altcha-lib'
import type { Payload } from 'altcha-lib/types'
import { secretsEqual, type Clock, type Store } from '@parapet/kit'
import { PARAPET_ANOMALY_GUARD_MISSING_PEER } from '../errors.ts'

/** See {@link createProofOfWork}. */
export interface ProofOfWorkSettings {
  readonly store: Store
  readonly clock: Clock
  /** At least 32 bytes; the same on all instances. */
  readonly secret: Uint8Array
  /** The mean number of key derivations that a client computes. */
  readonly difficulty: number
  readonly onError: (error: unknown, what: string) => void
}

/** Makes and checks challenges. */
export interface ProofOfWork {
  /** @param client the key of the client's address */
  create(client: string): Promise<Challenge>
  /** Whether the answer is right, in time, of this client, and the first one. Never throws. */
  verify(client: string, payload: string): Promise<boolean>
}

/** Iterations of one key derivation: about a millisecond of a telephone. */
const COST = 1000
/** How long a client may take. */
const LIFETIME_MS = 600_000
const MAX_PAYLOAD = 4096
const ALGORITHM = 'PBKDF2/SHA-256'
const MAX_LOCAL_ANSWERS = 100_000

/**
 * Loads the library.
 *
 * @throws PARAPET_ANOMALY_GUARD_MISSING_PEER altcha-lib is not installed.
 */
export async function createProofOfWork(settings: ProofOfWorkSettings): Promise<ProofOfWork> {
  const { clock, secret, difficulty } = settings
  const { createChallenge, verifySolution, deriveKey } = await load()
  const key = (use: string) => createHmac('sha256', secret).update(use).digest('hex')
  const secrets = {
    hmacSignatureSecret: key('challenge'),
    hmacKeySignatureSecret: key('challenge answer'),
  }
  const clientKey = key('challenge client')
  const nameOf = (client: string) =>
    createHmac('sha256', clientKey).update(client).digest('base64url')
  const takeFirst = createSingleUse(settings)

  return {
    create: (client) =>
      createChallenge({
        algorithm: ALGORITHM,
        cost: COST,
        deriveKey,
        counter: randomInt(Math.ceil(difficulty / 2), Math.ceil(difficulty * 1.5) + 1),
        data: { client: nameOf(client), expires: clock.now() + LIFETIME_MS },
        ...secrets,
      }),
    async verify(client, payload) {
      const answer = parsePayload(payload)
      if (answer === undefined) return false
      try {
        const { challenge, solution } = answer
        const { verified } = await verifySolution({ challenge, solution, deriveKey, ...secrets })
        if (!verified) return false
        const { data, nonce } = challenge.parameters
        const { client: name, expires } = data ?? {}
        if (typeof name !== 'string' || !secretsEqual(name, nameOf(client))) return false
        if (typeof expires !== 'number' || expires <= clock.now()) return false
        return await takeFirst(nonce)
      } catch {
        // What is not in the form of an answer is a wrong answer.
        return false
      }
    },
  }
}

async function load() {
  try {
    const [library, algorithm] = await Promise.all([
      import('altcha-lib'),
      import('altcha-lib/algorithms/pbkdf2'),
    ])
    return { ...library, deriveKey: algorithm.deriveKey }
  } catch (error) {
    throw Object.assign(new PARAPET_ANOMALY_GUARD_MISSING_PEER('challenge', 'altcha-lib'), {
      cause: error,
    })
  }
}

function parsePayload(payload: string): Payload | undefined {
  if (payload.length > MAX_PAYLOAD) return undefined
  try {
    const answer = JSON.parse(Buffer.from(payload, 'base64').toString()) as Partial<Payload> | null
    const { parameters } = answer?.challenge ?? {}
    const isComplete =
      typeof parameters === 'object' &&
      parameters.algorithm === ALGORITHM &&
      typeof parameters.nonce === 'string' &&
      typeof answer?.solution === 'object'
    return isComplete ? (answer as Payload) : undefined
  } catch {
    return undefined
  }
}

/** Whether a nonce is used for the first time; while the store is down, on this instance. */
function createSingleUse({ store, clock, onError }: ProofOfWorkSettings) {
  const used = new Map<string, number>()
  return async (nonce: string): Promise<boolean> => {
    const now = clock.now()
    for (const [each, until] of used) {
      if (until > now && used.size < MAX_LOCAL_ANSWERS) break
      used.delete(each)
    }
    if (used.has(nonce)) return false
    used.set(nonce, now + LIFETIME_MS)
    try {
      return await store.setIfAbsent(`anomaly-guard:answer:${nonce}`, '', LIFETIME_MS)
    } catch (error) {
      onError(error, 'mark an answer as used')
      return true
    }
  }
}
