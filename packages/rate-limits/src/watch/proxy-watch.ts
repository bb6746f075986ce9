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
  /** Forwarded addresses by peer; of many peers, those that came last. */
  readonly #peers = new Map<string, Set<string>>()
  #isReported = false

  /**
   * Looks at one request.
   *
   * @param ip the client address as the app sees it.
   * @param forwarded the `X-Forwarded-For` header.
   * @returns the suspicion, once: a proxy may have many addresses.
   */
  observe(ip: string, forwarded: string): Suspicion | undefined {
    if (this.#isReported) return undefined
    const peer = ip.replace(/^::ffff:(?=\d+\.)/i, '')
    // A UNIX socket has no address.
    if (!isPrivate(peer) && peer !== 'unknown') return undefined
    const first = forwarded.split(',', 1)[0]!.trim().slice(0, MAX_ADDRESS_LENGTH)
    if (first === '' || first === ip) return undefined
    const clients = this.#peers.get(peer) ?? new Set()
    this.#peers.delete(peer)
    const [oldest] = this.#peers.keys()
    if (this.#peers.size >= MAX_PEERS && oldest !== undefined) this.#peers.delete(oldest)
    this.#peers.set(peer, clients.add(first))
    if (clients.size < ENOUGH_CLIENTS) return undefined
    this.#isReported = true
    this.#peers.clear()
    return { peer, clients: clients.size }
  }
}

/** The lines that tell an operator what to write. */
export function proxyAdvice({ peer, clients }: Suspicion): string {
  const [place, option] =
    peer === 'unknown'
      ? ['the UNIX socket', 'trustProxy: (address) => !address']
      : [peer, `trustProxy: ['${peer}']`]
  return (
    `rate-limits: ${clients} forwarded client addresses came from ${place}, which is not a trusted proxy, ` +
    `so all users behind it share one limit. If that is your proxy, write Fastify({ ${option} }) or the ` +
    'networks of your proxies; a number of hops is not enough, because Fastify 5.12 believes nobody then. ' +
    'This is reported once.'
  )
}
