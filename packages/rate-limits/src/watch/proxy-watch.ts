/**
 * Finds the proxy mistake: behind a proxy that is not trusted, all users have the address of the proxy and
 * share one limit.
 */
import { createCidrMatcher } from '@parapet/kit'

/** A private peer that forwards for many clients. */
export interface Suspicion {
  readonly peer: string
  readonly clients: number
}

/** This many distinct forwarded addresses are no accident. */
const ENOUGH_CLIENTS = 5
/** Peers that are watched at the same time. */
const MAX_PEERS = 32
const MAX_ADDRESS_LENGTH = 45

const isPrivate = createCidrMatcher([
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '127.0.0.0/8',
  '::1',
  'fc00::/7',
  'fe80::/10',
])

export class ProxyWatch {
  readonly #peers = new Map<string, Set<string> | 'reported'>()

  /**
   * Looks at one request.
   *
   * @param ip the client address as the app sees it.
   * @param forwarded the `X-Forwarded-For` header.
   * @returns the suspicion, once for each peer.
   */
  observe(ip: string, forwarded: string): Suspicion | undefined {
    let clients = this.#peers.get(ip)
    if (clients === 'reported') return undefined
    if (clients === undefined) {
      // A UNIX socket has no address.
      if (this.#peers.size >= MAX_PEERS || !(isPrivate(ip) || ip === 'unknown')) return undefined
      clients = new Set()
      this.#peers.set(ip, clients)
    }
    const first = forwarded.split(',', 1)[0]!.trim().slice(0, MAX_ADDRESS_LENGTH)
    if (first === '' || first === ip) return undefined
    clients.add(first)
    if (clients.size < ENOUGH_CLIENTS) return undefined
    this.#peers.set(ip, 'reported')
    return { peer: ip, clients: clients.size }
  }
}

/** The lines that tell an operator what to write. */
export function proxyAdvice({ peer, clients }: Suspicion): string {
  return (
    `rate-limits: ${clients} forwarded client addresses came from ${peer}, which is not a trusted proxy, ` +
    `so all users behind it share one limit. If ${peer} is your proxy, write ` +
    `Fastify({ trustProxy: ['${peer}'] }) or the network of your proxies; a number of hops is not ` +
    'enough, because Fastify 5.12 believes nobody then.'
  )
}
