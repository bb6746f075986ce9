/** Writes a policy as the value of its header, in the bytes of @fastify/helmet. */
import type { CspDirectives } from './directives.ts'

/** The value of the header. The option reader guarantees that no source contains a separator. */
export function serializeCsp(directives: CspDirectives): string {
  return Object.entries(directives)
    .map(([name, sources]) => [name, ...sources].join(' '))
    .join(';')
}
