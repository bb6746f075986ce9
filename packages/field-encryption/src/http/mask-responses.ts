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
import type { RequestTally } from '../reports/request-tally.ts'
import type { PrincipalReader } from './caller.ts'
import { compileResponseRules, nodesOfStatus } from './response-rules.ts'
import { tallyOf } from './tally-requests.ts'

const kMasked = Symbol('@parapet/field-encryption:masked')

/** A reply whose payload was masked. */
interface MaskedReply {
  [kMasked]?: boolean
}

/**
 * Adds the hooks that mask responses.
 *
 * @param finish reports what a request has decrypted.
 */
export function maskResponses(
  app: FastifyInstance,
  principalOf: PrincipalReader,
  finish: (request: FastifyRequest) => Promise<void> | undefined,
): void {
  const ruleOf = compileResponseRules(app)
  app.decorateReply(kMasked, false)

  app.addHook('preSerialization', async (request, reply, payload) => {
    const rule = ruleOf(request)
    const nodes = rule && nodesOfStatus(rule, reply.statusCode)
    if (!nodes || nodes.length === 0) {
      await finish(request)
      return payload
    }
    await principalOf.load(request)
    const more = (await rule.roles?.(request, payload)) ?? []
    const roles = [...(principalOf(request)?.roles ?? []), ...more]
    const tally = tallyOf(request)
    const masked = nodes.reduce((value, node) => maskPayload(node, value, roles, tally), payload)
    ;(reply as MaskedReply)[kMasked] = true
    // Before the onSend hooks: audit-log makes the records of a request durable there.
    await finish(request)
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

function maskPayload(
  node: SchemaNode,
  payload: unknown,
  roles: readonly string[],
  tally: RequestTally | null,
): unknown {
  try {
    return maskValues(node, payload, roles, tally)
  } catch (error) {
    // As a 400 it would blame the request; the response is invalid.
    if (!(error instanceof PARAPET_FIELD_ENCRYPTION_INVALID_VALUE)) throw error
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED('its shape does not match its schema')
  }
}

function maskValues(
  node: SchemaNode,
  payload: unknown,
  roles: readonly string[],
  tally: RequestTally | null,
): unknown {
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
    tally?.mask(field)
    return disclosure === 'withhold' ? OMIT : disclosure(String(value))
  })
}
