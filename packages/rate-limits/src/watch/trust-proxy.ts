/** Whether the server believes every client that names another address. */
import { randomInt } from 'node:crypto'
import { createCidrMatcher } from '@parapet/kit'

/** So many, that half of all addresses is hardly taken for all. */
const SAMPLES = 64

/** Whether this `trustProxy` of Fastify is `true`, or a function or networks that trust any address. */
export function trustsEveryProxy(trustProxy: unknown): boolean {
  const trusts = typeof trustProxy === 'function' ? trustProxy : networksOf(trustProxy)
  if (trusts === undefined) return trustProxy === true
  const sees = trusts as (address: string, hop: number) => unknown
  return Array.from({ length: SAMPLES }, () => isTrusted(sees, randomAddress())).every(Boolean)
}

/** Names, such as `loopback`, are not networks of everybody. */
function networksOf(trustProxy: unknown): ((address: string) => boolean) | undefined {
  if (typeof trustProxy !== 'string' && !Array.isArray(trustProxy)) return undefined
  const entries = [trustProxy].flat().flatMap((each) => String(each).split(','))
  const networks = entries
    .map((each) => each.trim())
    .filter((each) => /^[\da-f.:]+\/\d+$/i.test(each))
  return networks.length === 0 ? undefined : createCidrMatcher(networks)
}

function isTrusted(trusts: (address: string, hop: number) => unknown, address: string): boolean {
  try {
    return Boolean(trusts(address, 0))
  } catch {
    return false
  }
}

function randomAddress(): string {
  return [randomInt(1, 224), randomInt(256), randomInt(256), randomInt(256)].join('.')
}
