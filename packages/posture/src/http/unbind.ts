/**
 * The functions behind bound functions. Fastify binds every hook to its context, which hides the source of
 * the hook; the inspector of Node shows the target of a bound function.
 */
import { Session, type Runtime } from 'node:inspector'

const kSlot = Symbol.for('@parapet/posture:slot')

type Slot = { value?: unknown }
type WithSlot = { [kSlot]?: Slot }

/** Reads targets; `close` ends the session. */
export interface Unbinder {
  /** The function behind any number of bindings; the function itself where it is not bound. */
  readonly targetOf: (fn: unknown) => unknown
  readonly close: () => void
}

/** Opens a session with this process. Without an inspector, functions stay as they are. */
export function createUnbinder(): Unbinder {
  const session = new Session()
  try {
    session.connect()
  } catch {
    return { targetOf: (fn) => fn, close: () => {} }
  }
  const slot: Slot = {}
  const home = globalThis as WithSlot
  home[kSlot] = slot
  const known = new Map<unknown, unknown>()
  return {
    targetOf(fn) {
      if (!isBound(fn)) return fn
      if (!known.has(fn)) known.set(fn, readTarget(session, slot, fn))
      return known.get(fn)
    },
    close() {
      delete home[kSlot]
      session.disconnect()
    },
  }
}

function isBound(fn: unknown): boolean {
  return (
    typeof fn === 'function' &&
    /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(fn))
  )
}

const MAX_BINDINGS = 8
const SLOT_TEXT = `globalThis[Symbol.for('@parapet/posture:slot')]`

function readTarget(session: Session, slot: Slot, fn: unknown): unknown {
  let target = fn
  for (let count = 0; count < MAX_BINDINGS && isBound(target); count++) {
    slot.value = target
    const found = readInner(session)
    if (found === undefined) break
    const declaration = `function () { ${SLOT_TEXT}.value = this }`
    session.post('Runtime.callFunctionOn', { functionDeclaration: declaration, objectId: found })
    target = slot.value
  }
  delete slot.value
  return target
}

/** The id of what the function in the slot is bound to. The answers come before `post` returns. */
function readInner(session: Session): string | undefined {
  let bound: string | undefined
  session.post('Runtime.evaluate', { expression: `${SLOT_TEXT}.value` }, (error, answer) => {
    if (error === null) bound = answer.result.objectId
  })
  if (bound === undefined) return undefined
  let target: string | undefined
  const request: Runtime.GetPropertiesParameterType = { objectId: bound, ownProperties: true }
  session.post('Runtime.getProperties', request, (error, answer) => {
    if (error !== null) return
    const inner = answer.internalProperties?.find(({ name }) => name === '[[TargetFunction]]')
    target = inner?.value?.objectId
  })
  return target
}
