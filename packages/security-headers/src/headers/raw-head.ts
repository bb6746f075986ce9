/** Adds the header block to responses that a handler writes to a socket as text. */
import type { Duplex } from 'node:stream'
import type { Block } from './block.ts'

/**
 * Creates a function that watches a socket for the head of the next response and inserts the block
 * after its status line. Headers that the response sets itself are kept, and the methods of the socket
 * are put back.
 *
 * @param onlyBare leaves `101 Switching Protocols` and every response alone that has a header of the
 *   block already, as those of routes have. Only the first bytes can be the head.
 */
export function createHeadCompleter(
  { names, values }: Block,
  onlyBare = false,
): (socket: Duplex) => void {
  const lines = names.map((name, index) => `${name}: ${values[index]}\r\n`)
  return (socket) => {
    const restore = new Map<string, () => void>()
    const complete = (chunk: unknown): unknown => {
      if (restore.size === 0 || !(typeof chunk === 'string' || Buffer.isBuffer(chunk))) return chunk
      const text = typeof chunk === 'string' ? chunk : chunk.toString('latin1')
      const start = text.indexOf('\r\n') + 2
      const blank = text.indexOf('\r\n\r\n')
      const isHead = text.startsWith('HTTP/1.') && blank !== -1
      if (!isHead && !onlyBare) return chunk
      for (const undo of restore.values()) undo()
      restore.clear()
      if (!isHead) return chunk
      const head = text.slice(start - 2, blank + 2).toLowerCase()
      const missing = lines.filter((_line, index) => !head.includes(`\r\n${names[index]}:`))
      const isBare = missing.length === lines.length && !/^HTTP\/1\.\d 101/.test(text)
      if (onlyBare && !isBare) return chunk
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
