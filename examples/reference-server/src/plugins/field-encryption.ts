/** Encrypted fields: under which keyset, and what becomes of them where none is kept. */
import {
  exportKeyset,
  generateKeyset,
  type FieldEncryptionOptions,
} from '@parapet/field-encryption'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'

/** The options of the field-encryption plugin in this service. */
export function createFieldEncryptionOptions(
  app: FastifyInstance,
  { fieldKeyset: keyset }: Config,
): FieldEncryptionOptions {
  if (keyset !== undefined) return { keyset }
  app.log.warn('FIELD_KEYSET is not set: encrypted fields cannot be read after this process')
  return { keyset: exportKeyset(generateKeyset()) }
}
