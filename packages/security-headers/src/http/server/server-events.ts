/** Looks at the events of a server before its listeners do, without a listener of its own. */

/** The members of HTTP/1 and HTTP/2 servers that this plugin uses. */
export interface AnyServer {
  readonly maxRequestsPerSocket?: number
  emit(event: string, ...args: unknown[]): boolean
  listenerCount(event: string): number
}

/** What to do before the listeners of each event run. */
type Handlers = Readonly<Record<string, ((...args: never[]) => void) | undefined>>

/**
 * Runs a handler before the listeners of its event. Node and other plugins decide by the number of
 * listeners who answers an upgrade, a malformed request or an expectation: one more listener would
 * leave sockets open that nobody answers.
 */
export function watchEvents(server: AnyServer, handlers: Handlers): void {
  const known = new Map(Object.entries(handlers))
  const emit = server.emit.bind(server)
  server.emit = (event, ...args) => {
    known.get(event)?.(...(args as never[]))
    return emit(event, ...args)
  }
}
