/** The options of `@parapet/field-encryption`: the keyset that encrypts fields. */
import {
  exportKeyset,
  generateKeyset,
  type FieldEncryptionOptions,
} from '@parapet/field-encryption'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { followKeyset } from './secrets.ts'

/** Generates a keyset if the configuration has none. */
export function createFieldEncryptionOptions(
  app: FastifyInstance,
  config: Config,
): FieldEncryptionOptions {
  const { fieldKeyset: keyset } = config
  if (keyset !== undefined) return { keyset: followKeyset(app, config, keyset) }
  app.log.warn(
    'field-encryption uses a keyset of this process; encrypted fields are unreadable after a ' +
      'restart. Set FIELD_KEYSET.',
  )
  return { keyset: exportKeyset(generateKeyset()) }
}
