/** Resolves a host, checks all its addresses, and connects to one of these: nothing resolves the name again. */
import { lookup as systemLookup } from 'node:dns/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { PARAPET_INPUT_GUARD_FETCH_FAILED, PARAPET_INPUT_GUARD_URL_FORBIDDEN } from '../errors.ts'
import { isAddress, isPublicAddress } from './address-rules.ts'
import type { ConnectTarget, FetchPorts, HostAddress } from './ports.ts'

/** Opens the connection of one request. */
export type PinnedConnect = (origin: {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
  /** Ends the attempt. */
  readonly signal: AbortSignal
}) => Promise<Socket>

const MAX_ADDRESSES = 64

/** @param timeoutMs of the lookup and the connection */
export function createPinnedConnect(
  { lookup = defaultLookup, connect = openSocket }: FetchPorts,
  timeoutMs: number,
): PinnedConnect {
  return async ({ host, port, isTls, signal }) => {
    const addresses = isAddress(host) ? [literal(host)] : await resolve(host, lookup)
    // Nobody waits for a connection any more.
    signal.throwIfAborted()
    const [first] = addresses
    const socket = await connect({ ...first!, host, port, isTls, timeoutMs })
    if (signal.aborted) socket.destroy()
    return socket
  }
}

function literal(address: string): HostAddress {
  return { address, family: address.includes(':') ? 6 : 4 }
}

/** One forbidden address among several is an attack or a mistake, so all of them must be public. */
async function resolve(
  host: string,
  lookup: NonNullable<FetchPorts['lookup']>,
): Promise<readonly HostAddress[]> {
  let addresses: readonly HostAddress[]
  try {
    addresses = await lookup(host)
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_FETCH_FAILED('the host has no address'), { cause })
  }
  if (addresses.length === 0 || addresses.length > MAX_ADDRESSES) {
    throw new PARAPET_INPUT_GUARD_FETCH_FAILED('the host has no address')
  }
  if (!addresses.every(({ address }) => isPublicAddress(address))) {
    throw new PARAPET_INPUT_GUARD_URL_FORBIDDEN('the address of its host')
  }
  return addresses
}

async function defaultLookup(host: string): Promise<readonly HostAddress[]> {
  const found = await systemLookup(host, { all: true, verbatim: true })
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }))
}

function openSocket({
  address,
  family,
  host,
  port,
  isTls,
  timeoutMs,
}: ConnectTarget): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const target = { host: address, port, family }
    const socket = isTls
      ? connectTls({
          ...target,
          ALPNProtocols: ['http/1.1'],
          ...(isAddress(host) ? undefined : { servername: host }),
        })
      : connectTcp(target)
    const timer = setTimeout(() => socket.destroy(new Error('connection timed out')), timeoutMs)
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      settle()
    }
    socket.once(isTls ? 'secureConnect' : 'connect', () => finish(() => resolve(socket)))
    socket.once('error', (error) => finish(() => reject(error)))
  })
}
