/** Writes the ids in paths and query strings as the database writes them, for the routes of plugins, too. */
import { PARAPET_INPUT_GUARD_QUERY_REFUSED } from '@parapet/input-guard'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * Converts ids to lower case before validation. Otherwise a value could be encrypted or compared under another
 * spelling than the stored one. Refuses NUL, which no database stores. Register it before the plugins, because
 * input-guard checks only routes that are declared after it. @see RFC 9562, section 4
 */
export const ids = fp(
  async (app: FastifyInstance): Promise<void> => {
    app.addHook('preValidation', ({ params, query }, _reply, done) => {
      for (const part of [params, query] as Record<string, unknown>[]) {
        for (const [name, value] of Object.entries(part)) {
          if (typeof value !== 'string') continue
          if (value.includes('\0')) {
            return done(new PARAPET_INPUT_GUARD_QUERY_REFUSED('contains the character U+0000'))
          }
          if (UUID.test(value)) part[name] = value.toLowerCase()
        }
      }
      done()
    })
  },
  { name: 'ids', fastify: '5.x' },
)
