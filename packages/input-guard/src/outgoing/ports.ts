/** What outgoing requests need from outside. */
import type { Socket } from 'node:net'

/** One address of a host. */
export interface HostAddress {
  readonly address: string
  readonly family: 4 | 6
}

/** A connection to open: to this address, for this host. */
export interface ConnectTarget extends HostAddress {
  /** The name in the URL, for TLS; without brackets. */
  readonly host: string
  readonly port: number
  readonly isTls: boolean
  readonly timeoutMs: number
}

/** Ports of `fetch`. */
export interface FetchPorts {
  /** Resolves a host to all its addresses. @default the resolver of the operating system */
  readonly lookup?: (host: string) => Promise<readonly HostAddress[]>
  /** Opens a connection to an address that was checked. @default a TCP or TLS connection */
  readonly connect?: (target: ConnectTarget) => Promise<Socket>
}
