/**
 * A sink for syslog over TCP or TLS, with octet counting.
 *
 * @see RFC 5424, RFC 5425 section 4.3, RFC 6587 section 3.4.1
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { toCef } from '../formats/cef.ts'
import { escapeJson } from '../formats/controls.ts'
import { ownMember, type MappedEntry } from '../formats/members.ts'
import { toOcsf } from '../formats/ocsf.ts'
import type { AuditEntry } from '../log/entries.ts'
import type { AuditSink } from '../log/sink.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { refuseTarget } from './http-post.ts'

/** Receiver and format. */
export interface SyslogTarget {
  /** The name of the sink. @default 'syslog' */
  readonly name?: string
  readonly host: string
  /** @default 6514 with TLS, else 601 */
  readonly port?: number
  /** `true`, or options of `tls.connect`. The certificate is always verified. @default false */
  readonly tls?: boolean | Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername'>
  /** @default 'json': the record as it is in the log */
  readonly format?: 'json' | 'cef' | 'ocsf'
  /** @default 'audit-log' */
  readonly appName?: string
  /**
   * The longest message; a longer one has the id and the hash of the record instead of its content.
   * rsyslog splits what is longer than its own limit, and each part passes for a message.
   * @default 8192 (8 KiB, the default limit of rsyslog)
   */
  readonly maxMessageBytes?: number
}

/** The facility "log audit". */
const FACILITY = 13
const SEVERITIES: Readonly<Record<string, number>> = { critical: 2, high: 3, medium: 4, low: 5 }
const INFO = 6
const MAX_SEQUENCE = 2_147_483_647
const MAX_MSGID = 32
const MAX_MESSAGE_BYTES = 8192
const MIN_MESSAGE_BYTES = 1024

/**
 * Sends records to a syslog receiver. Syslog has no acknowledgement: records in transit when the
 * receiver fails may be missing there. The log still has them.
 */
export function syslogSink(target: SyslogTarget): AuditSink {
  let socket: Socket | undefined
  const format = formatter(target)
  return {
    name: target.name ?? 'syslog',
    async deliver(entries, signal) {
      socket ??= await open(target, signal, () => (socket = undefined))
      try {
        await write(socket, Buffer.concat(entries.map(format)), signal)
      } catch (error) {
        socket?.destroy()
        socket = undefined
        throw error
      }
    },
    async close() {
      socket?.end()
      socket = undefined
    },
  }
}

async function open(target: SyslogTarget, signal: AbortSignal, lost: () => void): Promise<Socket> {
  const { host, tls = false } = target
  const port = target.port ?? (tls === false ? 601 : 6514)
  const socket =
    tls === false
      ? connectTcp({ host, port })
      : connectTls({ host, port, ...(tls === true ? {} : tls), rejectUnauthorized: true })
  try {
    await once(socket, tls === false ? 'connect' : 'secureConnect', { signal })
  } catch (error) {
    socket.on('error', () => {})
    socket.destroy()
    throw error
  }
  socket.on('error', () => {})
  socket.on('close', lost)
  socket.unref()
  // Discard what the receiver sends, so that it cannot fill the buffer.
  socket.resume()
  return socket
}

function write(socket: Socket, bytes: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = () => {
      reject(new Error('the connection to the syslog receiver was lost'))
      socket.off('close', fail)
    }
    socket.once('close', fail)
    signal.addEventListener('abort', fail, { once: true })
    socket.write(bytes, (error) => {
      socket.off('close', fail)
      signal.removeEventListener('abort', fail)
      if (error) reject(error)
      else resolve()
    })
  })
}

function formatter(target: SyslogTarget) {
  const { appName = 'audit-log', maxMessageBytes = MAX_MESSAGE_BYTES } = target
  if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < MIN_MESSAGE_BYTES) {
    refuseTarget(`"sinks" must have a syslog "maxMessageBytes" of at least ${MIN_MESSAGE_BYTES}`)
  }
  const app = printable(appName, 48)
  const host = printable(hostname(), 255)
  return (entry: AuditEntry): Buffer => {
    const { record, index } = entry
    const priority = FACILITY * 8 + (ownMember(SEVERITIES, record.severity) ?? INFO)
    const time = new Date(record.time).toISOString()
    const msgId = printable(record.action, MAX_MSGID)
    const sequence = (index % MAX_SEQUENCE) + 1
    const header = `<${priority}>1 ${time} ${host} ${app} ${process.pid} ${msgId} [meta sequenceId="${sequence}"] `
    const whole = Buffer.from(header + bodyOf(entry, target))
    const bytes =
      whole.length <= maxMessageBytes ? whole : Buffer.from(header + excerptOf(entry, target))
    return Buffer.concat([Buffer.from(`${bytes.length} `), bytes])
  }
}

function bodyOf(entry: MappedEntry & { readonly leaf: string }, { format }: SyslogTarget): string {
  if (format === 'cef') return toCef(entry)
  return escapeJson(format === 'ocsf' ? JSON.stringify(toOcsf(entry)) : entry.leaf)
}

/** What is left of a record that is too long: enough to find it in the log and to compare it. */
function excerptOf({ leaf, index, record, ...rest }: AuditEntry, target: SyslogTarget): string {
  const { v, id, time, action, result, writer } = record
  const sha256 = createHash('sha256').update(leaf).digest('hex')
  const data = { bytes: Buffer.byteLength(leaf), sha256, tooLong: true }
  const short: AuditRecord = { v, id, time, action, result, writer, data }
  return bodyOf(
    { ...rest, index, record: short, leaf: JSON.stringify({ index, ...short }) },
    target,
  )
}

/** Header fields are printable ASCII without spaces. */
function printable(value: string, max: number): string {
  return value.replaceAll(/[^\x21-\x7e]/g, '?').slice(0, max) || '-'
}
