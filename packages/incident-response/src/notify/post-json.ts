/** Sends one HTTP request to a checked target: the name is resolved once, its addresses are checked, and nothing is followed. */
import { lookup as resolve, type LookupAddress } from 'node:dns'
import { request as requestHttp, type RequestOptions } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { isPublicTarget, refuseTarget } from './safe-target.ts'

/** A request. */
export interface TargetRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly signal: AbortSignal
  readonly allowPrivate: boolean
  /** The DNS, for tests. @default that of the machine */
  readonly lookup?: typeof resolve
}

/**
 * Sends it.
 *
 * @returns the status.
 * @throws Error the target may not be called, the connection failed, or `signal` was aborted.
 */
export async function sendToTarget(given: TargetRequest): Promise<number> {
  const { method, url, headers, body, signal, allowPrivate, lookup = resolve } = given
  const problem = refuseTarget(url, allowPrivate)
  if (problem !== undefined) throw new Error(`the address ${problem}`)
  const options: RequestOptions = {
    method,
    signal,
    // A connection of its own: an open one was checked for another name.
    agent: false,
    headers: { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' },
    lookup: allowPrivate ? resolve : checkedLookup(lookup),
  }
  const send = url.startsWith('https:') ? requestHttps : requestHttp
  return new Promise((done, fail) => {
    const request = send(url, options, (response) => {
      done(response.statusCode ?? 0)
      // The status is the answer: a receiver that does not end its reply was told nevertheless.
      response.destroy()
    })
    request.on('error', fail)
    request.end(body)
  })
}

/** One address that may not be called refuses the name: an attacker's DNS mixes them. */
function checkedLookup(lookup: typeof resolve): LookupFunction {
  return (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, found) => {
      const addresses = found ?? []
      const refused =
        addresses.length === 0 || addresses.some(({ address }) => !isPublicTarget(address))
      if (error !== null || refused) {
        done(error ?? new Error('the name has an address that may not be called'), '', 0)
        return
      }
      if (options.all === true) (done as (e: null, all: LookupAddress[]) => void)(null, addresses)
      else done(null, addresses[0]!.address, addresses[0]!.family)
    })
  }
}
