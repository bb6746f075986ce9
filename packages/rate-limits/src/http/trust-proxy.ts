/** Whether the server believes every client that names another address. */
import { randomInt } from 'node:crypto'
import { readFastifyInternal } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'

const SAMPLES = 3

/** Whether `trustProxy` is `true`, or a function that trusts any address. */
export function trustsEveryProxy(app: FastifyInstance): boolean {
  const options = readFastifyInternal(app, 'fastify.options') as
    | { readonly trustProxy?: unknown }
    | undefined
  const trustProxy = options?.trustProxy
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
