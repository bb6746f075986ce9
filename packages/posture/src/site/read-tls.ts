/** What handshakes with a site show: versions, the certificate, and plain HTTP beside it. */
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { TlsFacts } from '../facts/facts.ts'

const DAY_MS = 86_400_000

interface Handshake {
  readonly protocol: string
  readonly failure: string | undefined
  readonly validTo: string
}

/** Reads the TLS of an https address. */
export async function readTls(address: URL, deadlineMs: number): Promise<TlsFacts> {
  const shake = (options: ConnectionOptions) => handshake(address, options, deadlineMs)
  const usual = await shake({})
  const oldVersions: string[] = []
  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    // OpenSSL itself refuses old versions above this level.
    const old = await shake({
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    if (old !== undefined) oldVersions.push(version)
  }
  const end = Date.parse(usual?.validTo ?? '')
  return {
    protocol: usual?.protocol ?? '',
    oldVersions,
    failure: usual === undefined ? 'no handshake' : usual.failure,
    daysLeft: Number.isNaN(end) ? undefined : Math.floor((end - Date.now()) / DAY_MS),
    plainHttp: address.port === '' ? await readPlain(address, deadlineMs) : undefined,
  }
}

/** `undefined`: there was no handshake. */
function handshake(
  { hostname, port }: URL,
  options: ConnectionOptions,
  deadlineMs: number,
): Promise<Handshake | undefined> {
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[|\]$/g, '')
    const isName = !/^[\d.]+$|:/.test(host)
    const socket: TLSSocket = connect({
      host,
      port: Number(port === '' ? 443 : port),
      ...(isName ? { servername: host } : {}),
      // The reason is read below; nothing is sent.
      rejectUnauthorized: false,
      ...options,
    })
    const finish = (result: Handshake | undefined): void => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(deadlineMs, () => finish(undefined))
    socket.once('error', () => finish(undefined))
    socket.once('secureConnect', () => {
      const error = socket.authorizationError as Error | string | null | undefined
      const failure =
        error === null || error === undefined
          ? undefined
          : typeof error === 'string'
            ? error
            : error.message
      const { valid_to: validTo } = socket.getPeerCertificate()
      finish({ protocol: socket.getProtocol() ?? '', failure, validTo })
    })
  })
}

async function readPlain({ hostname }: URL, deadlineMs: number): Promise<TlsFacts['plainHttp']> {
  try {
    const settings = { redirect: 'manual', signal: AbortSignal.timeout(deadlineMs) } as const
    const { status, headers } = await fetch(`http://${hostname}/`, settings)
    return { status, location: headers.get('location') ?? '' }
  } catch {
    return undefined
  }
}
