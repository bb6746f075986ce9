/** Adds the header block to responses that a handler writes to a socket as text. */
import type { Duplex } from 'node:stream'
import type { Block } from './block.ts'

/**
 * Creates a function that watches a socket for the head of the next response and inserts the block
 * after its status line. Headers that the response sets itself are kept, and the methods of the socket
 * are put back.
 */
export function createHeadCompleter({ names, values }: Block): (socket: Duplex) => void {
  const lines = names.map((name, index) => `${name}: ${values[index]}\r\n`)
  return (socket) => {
    const restore = new Map<string, () => void>()
    const complete = (chunk: unknown): unknown => {
      if (restore.size === 0 || !(typeof chunk === 'string' || Buffer.isBuffer(chunk))) return chunk
      const text = typeof chunk === 'string' ? chunk : chunk.toString('latin1')
      const start = text.indexOf('\r\n') + 2
      const blank = text.indexOf('\r\n\r\n')
      if (!text.startsWith('HTTP/1.') || blank === -1) return chunk
      for (const undo of restore.values()) undo()
      restore.clear()
      const head = text.slice(start - 2, blank + 2).toLowerCase()
      const missing = lines.filter((_line, index) => !head.includes(`\r\n${names[index]}:`))
      const completed = `${text.slice(0, start)}${missing.join('')}${text.slice(start)}`
      return typeof chunk === 'string' ? completed : Buffer.from(completed, 'latin1')
    }
    for (const method of ['write', 'end'] as const) {
      const before = Object.getOwnPropertyDescriptor(socket, method)
      const own = socket[method].bind(socket) as (...args: unknown[]) => unknown
      const completed = (chunk: unknown, ...rest: unknown[]) => own(complete(chunk), ...rest)
      Object.assign(socket, { [method]: completed })
      restore.set(method, () => {
        // Another plugin may have replaced the method since; its replacement must stay.
        if (socket[method] !== completed) return
        if (before === undefined) Reflect.deleteProperty(socket, method)
        else Object.defineProperty(socket, method, before)
      })
    }
  }
}
