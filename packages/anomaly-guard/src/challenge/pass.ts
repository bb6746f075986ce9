/** The pass of a client that has solved a challenge: signed, for one address, for a while. */
import { createHmac } from 'node:crypto'
import { secretsEqual, type Clock } from '@parapet/kit'

/** Makes and checks passes. */
export interface Passes {
  issue(client: string): string
  /** @param since a pass that was issued before does not count. */
  isValid(text: string, client: string, since: number): boolean
  readonly ttlMs: number
}

const PASS = /^([0-9a-z]{1,10})\.([\w-]{43})$/

/** Creates the passes of one secret. */
export function createPasses(secret: Uint8Array, ttlMs: number, clock: Clock): Passes {
  const key = createHmac('sha256', secret).update('pass').digest()
  const sign = (client: string, issued: string): string =>
    createHmac('sha256', key).update(`${issued} ${client}`).digest('base64url')
  return {
    ttlMs,
    issue(client) {
      const issued = clock.now().toString(36)
      return `${issued}.${sign(client, issued)}`
    },
    isValid(text, client, since) {
      const [, issued, signature] = PASS.exec(text) ?? []
      if (issued === undefined || signature === undefined) return false
      const issuedAt = Number.parseInt(issued, 36)
      const now = clock.now()
      if (issuedAt < since || issuedAt > now + CLOCK_SKEW_MS || issuedAt + ttlMs <= now)
        return false
      return secretsEqual(signature, sign(client, issued))
    },
  }
}

/** The clocks of two instances may differ by so much. */
const CLOCK_SKEW_MS = 5000
