/** Finds the methods of replies that the decorators of this plugin replace. */
import type { FastifyReply } from 'fastify'

/** A method that is replaced. */
export type ReplacedMethod = 'header' | 'send' | 'hijack' | 'callNotFound'
/** Its signature, as far as the decorators need it. */
export type Method = (this: FastifyReply, ...args: unknown[]) => FastifyReply

/** Finds the method that `replacement` replaces: the next one in the prototype chain. */
function findReplacedMethod(
  reply: FastifyReply,
  name: ReplacedMethod,
  replacement: unknown,
): Method {
  let holder = Object.getPrototypeOf(reply) as Record<string, Method>
  while (!Object.hasOwn(holder, name) || holder[name] !== replacement) {
    holder = Object.getPrototypeOf(holder) as Record<string, Method>
  }
  return (Object.getPrototypeOf(holder) as Record<string, Method>)[name]!
}

/** Caches the lookup: the method is the same for every reply of an app. */
export function createMethodLookup(
  name: ReplacedMethod,
  replacement: unknown,
): (reply: FastifyReply) => Method {
  let method: Method | undefined
  return (reply) => (method ??= findReplacedMethod(reply, name, replacement))
}
