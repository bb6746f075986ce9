/** Who sends a request: the key and the bits of its address, kept for the addresses that come often. */
import { clientKey, readFastifyInternal, trustsEveryProxy } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { readAddress, type AddressBits } from '../contain/address.ts'
import type { Allowlist } from '../contain/allowlist.ts'
import { PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY } from '../errors.ts'
import { acceptForgedAddresses, type AnomalyGuardSettings } from '../options.ts'

/** An address as the guard uses it. Frozen; `bits` is `undefined` where the peer has no address. */
export interface Client {
  readonly key: string
  readonly bits: AddressBits | undefined
  readonly hash: number
  /** By the option `allow`: nothing that it does leads to a measure, and none is applied to it. */
  readonly isAllowed: boolean
}

const MAX_CACHED = 20_000

/** Creates a reader that remembers addresses. @param hash of the guard */
export function createClientReader(
  hash: (text: string) => number,
  allowlist: Allowlist,
): (ip: string | undefined) => Client {
  const cache = new Map<string, Client>()
  // The peer of a UNIX socket has no address, whatever the type of `request.ip` says.
  return (ip = 'unknown') => {
    const known = cache.get(ip)
    if (known !== undefined) return known
    // All at once: the order of use is not worth its cost.
    if (cache.size >= MAX_CACHED) cache.clear()
    const bits: AddressBits = { isV4: true, high: 0, low: 0 }
    const key = clientKey(ip)
    const client = {
      key,
      bits: readAddress(ip, bits) ? bits : undefined,
      hash: hash(key),
      isAllowed: allowlist.hasClient(ip),
    }
    cache.set(ip, client)
    return client
  }
}

/** @throws PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY each client can choose its address */
export function refuseForgedAddresses(
  app: FastifyInstance,
  settings: Pick<AnomalyGuardSettings, typeof acceptForgedAddresses>,
): void {
  const server = readFastifyInternal(app, 'fastify.options') as { readonly trustProxy?: unknown }
  if (settings[acceptForgedAddresses] || !trustsEveryProxy(server.trustProxy)) return
  throw new PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY()
}
