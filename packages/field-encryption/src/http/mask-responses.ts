/**
 * Response masking: a field that a response schema marks as encrypted is revealed, masked or left out
 * by the roles of the caller. A response that cannot be masked is refused.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseCiphertext } from '../crypto/aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED,
  PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED,
} from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { applyMask, decideDisclosure } from '../schema/disclosure.ts'
import { mapEncrypted, OMIT } from '../schema/map-encrypted.ts'
import type { RequestTally } from '../reports/request-tally.ts'
import type { PrincipalReader } from './caller.ts'
import { compileResponseRules, nodesOfStatus, type ResponseRule } from './response-rules.ts'
import { tallyOf } from './tally-requests.ts'

const kMasking = Symbol('@parapet/field-encryption:masking')

/** What is known of a reply that may have to be masked. */
interface MaskedReply {
  /** The roles of the caller for this payload; `null`: they were not asked for yet. */
  [kMasking]?: { roles: readonly string[] | null; isMasked: boolean } | null
}

/**
 * Adds the hooks that mask responses. Roles are read from the payload that the handler has returned;
 * the payload is masked after every other hook, so that none can add a value that is not masked.
 *
 * @param finish reports what a request has decrypted.
 */
export function maskResponses(
  app: FastifyInstance,
  principalOf: PrincipalReader,
  finish: (request: FastifyRequest) => Promise<void> | undefined,
): void {
  const ruleOf = compileResponseRules(app, maskLast)
  const rolesOf = createRoleReader(principalOf)
  app.decorateReply(kMasking, null)

  app.addHook('preSerialization', async (request, reply, payload) => {
    const rule = ruleOf(request)
    if (rule === null) {
      await finish(request)
      return payload
    }
    const isMasked = (nodesOfStatus(rule, reply.statusCode)?.length ?? 0) > 0
    const roles = isMasked ? await rolesOf(rule, request, payload) : null
    ;(reply as MaskedReply)[kMasking] = { roles, isMasked: false }
    return payload
  })

  async function maskLast(request: FastifyRequest, reply: FastifyReply, payload: unknown) {
    const rule = ruleOf(request)
    if (rule === null) return payload
    const nodes = requireNodes(rule, reply.statusCode)
    let masked = payload
    if (nodes.length > 0) {
      const roles = (reply as MaskedReply)[kMasking]?.roles
      const caller = roles ?? (await rolesOf(rule, request, payload))
      const tally = tallyOf(request)
      masked = nodes.reduce((value, node) => maskPayload(node, value, caller, tally), payload)
      ;(reply as MaskedReply)[kMasking] = { roles: caller, isMasked: true }
    }
    // Before the onSend hooks: audit-log makes the records of a request durable there.
    await finish(request)
    return masked
  }

  app.addHook('onSend', async (request, reply, payload) => {
    // Text and streams are not serialized, so they were not masked.
    const rule = ruleOf(request)
    const isEmpty = payload === null || payload === undefined || payload === ''
    if (!rule || isEmpty || (reply as MaskedReply)[kMasking]?.isMasked === true) return payload
    if (requireNodes(rule, reply.statusCode).length === 0) return payload
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(
      'the handler sent text or a stream, which cannot be masked',
    )
  })
}

/**
 * The encrypted parts of a response with this status. Without a schema Fastify would send the payload
 * of another status, such as 201 for 200, as it is.
 */
function requireNodes(rule: ResponseRule, status: number): readonly SchemaNode[] {
  const nodes = nodesOfStatus(rule, status)
  if (nodes !== undefined || status < 200 || status > 299) return nodes ?? []
  throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(
    `its status ${status} has no response schema, but another status of the route has Encrypted`,
  )
}

/** Reads the roles of the caller. An error that is no refusal may quote the payload, so it becomes the cause. */
function createRoleReader(principalOf: PrincipalReader) {
  return async function rolesOf(
    rule: ResponseRule,
    request: FastifyRequest,
    payload: unknown,
  ): Promise<readonly string[]> {
    try {
      await principalOf.load(request)
      const more = (await rule.roles?.(request, payload)) ?? []
      return [...(principalOf(request)?.roles ?? []), ...more]
    } catch (cause) {
      const { statusCode } = cause as { readonly statusCode?: unknown }
      if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) throw cause
      const problem = '"principal" or config.fieldEncryption.roles has failed'
      throw Object.assign(new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(problem), { cause })
    }
  }
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
    return disclosure === 'withhold' ? OMIT : applyMask(disclosure, value, path)
  })
}
