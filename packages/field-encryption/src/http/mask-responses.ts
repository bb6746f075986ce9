/**
 * Response masking: a field that a response schema marks as encrypted is revealed, masked or left out
 * by the roles of the caller. A response that cannot be masked is refused.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseCiphertext } from '../crypto/aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED,
  PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED,
} from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { decideDisclosure } from '../schema/disclosure.ts'
import { mapEncrypted, OMIT } from '../schema/map-encrypted.ts'
import { compileResponseRules, nodesOfStatus } from './response-rules.ts'

const kMasked = Symbol('@parapet/field-encryption:masked')

/** A reply whose payload was masked. */
interface MaskedReply {
  [kMasked]?: boolean
}

/** Adds the hooks that mask responses. @param rolesOf the roles of the caller */
export function maskResponses(
  app: FastifyInstance,
  rolesOf: (request: FastifyRequest) => readonly string[],
): void {
  const ruleOf = compileResponseRules(app)
  app.decorateReply(kMasked, false)

  app.addHook('preSerialization', async (request, reply, payload) => {
    const rule = ruleOf(request)
    const nodes = rule && nodesOfStatus(rule, reply.statusCode)
    if (!nodes || nodes.length === 0) return payload
    const more = (await rule.roles?.(request, payload)) ?? []
    const roles = [...rolesOf(request), ...more]
    const masked = nodes.reduce((value, node) => maskPayload(node, value, roles), payload)
    ;(reply as MaskedReply)[kMasked] = true
    return masked
  })

  app.addHook('onSend', async (request, reply, payload) => {
    // Text and streams are not serialized, so preSerialization did not mask them.
    const rule = ruleOf(request)
    const isEmpty = payload === null || payload === undefined || payload === ''
    if (!rule || isEmpty || (reply as MaskedReply)[kMasked] === true) return payload
    if (!nodesOfStatus(rule, reply.statusCode)?.length) return payload
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(
      'the handler sent text or a stream, which cannot be masked',
    )
  })
}

function maskPayload(node: SchemaNode, payload: unknown, roles: readonly string[]): unknown {
  try {
    return maskValues(node, payload, roles)
  } catch (error) {
    // As a 400 it would blame the request; the response is invalid.
    if (!(error instanceof PARAPET_FIELD_ENCRYPTION_INVALID_VALUE)) throw error
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED('its shape does not match its schema')
  }
}

function maskValues(node: SchemaNode, payload: unknown, roles: readonly string[]): unknown {
  return mapEncrypted(node, payload, '', (field, value, path) => {
    if (field.reveal === 'never') {
      throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(
        `it has the field "${path}", whose reveal is "never"`,
      )
    }
    // A text that only begins with the mark is a plaintext, which `encryptRecord` accepts as well.
    if (parseCiphertext(value) !== undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED(path)
    }
    const disclosure = decideDisclosure(field, roles)
    if (disclosure === 'reveal') return value
    return disclosure === 'withhold' ? OMIT : disclosure(String(value))
  })
}
