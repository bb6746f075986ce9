/** Requests in progress: found by their id, and ended with their reply or their connection. */
import type { RequestState } from './request-state.ts'

/** Keeps the states of the requests in progress. */
export class OpenRequests {
  /** By id, so that a security event of a request can hold its reply. */
  readonly #byId = new Map<string, RequestState>()
  readonly #byConnection = new WeakMap<object, Set<RequestState>>()
  readonly #onEnd: (state: RequestState) => void

  /** @param onEnd called once per request: its reply was sent completely, or the client left. */
  constructor(onEnd: (state: RequestState) => void) {
    this.#onEnd = onEnd
  }

  find(requestId: string): RequestState | undefined {
    return this.#byId.get(requestId)
  }

  add(state: RequestState): void {
    const { request, reply } = state
    const { socket } = request.raw
    if (socket.destroyed) {
      state.isClosed = true
      return
    }
    this.#byId.set(request.id, state)
    const others = this.#ofConnection(socket)
    others.add(state)
    // Not onResponse: Fastify does not run it when the client leaves.
    reply.raw.on('close', () => this.#end(state, others))
  }

  /** Of several pipelined replies, Node.js tells only the first one that the connection closed. */
  #ofConnection(socket: ClientSocket): Set<RequestState> {
    const known = this.#byConnection.get(socket)
    if (known !== undefined) return known
    const states = new Set<RequestState>()
    this.#byConnection.set(socket, states)
    socket.once('close', () => {
      for (const state of states) this.#end(state, states)
    })
    return states
  }

  #end(state: RequestState, others: Set<RequestState>): void {
    if (state.isClosed) return
    state.isClosed = true
    others.delete(state)
    const { id } = state.request
    if (this.#byId.get(id) === state) this.#byId.delete(id)
    this.#onEnd(state)
  }
}

type ClientSocket = RequestState['request']['raw']['socket']
