/** Whether the server believes every client that names another address. */
import { randomInt } from 'node:crypto'

const SAMPLES = 3

/** Whether this `trustProxy` of Fastify is `true`, or a function that trusts any address. */
export function trustsEveryProxy(trustProxy: unknown): boolean {
  if (typeof trustProxy !== 'function') return trustProxy === true
  const trusts = trustProxy as (address: string, hop: number) => unknown
  return Array.from({ length: SAMPLES }, () => isTrusted(trusts, randomAddress())).every(Boolean)
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
