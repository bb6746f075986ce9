/** API keys that emit a security event for each change: a key is a credential like a session. */
import type { SecurityEvents } from '@parapet/kit'
import type { ApiKeys } from '../api-keys/api-keys.ts'
import { emitRevoked } from './emit-revoked.ts'

/** The API keys of the application. The id of the key is the resource of the event. */
export function createReportedApiKeys(apiKeys: ApiKeys, securityEvents: SecurityEvents): ApiKeys {
  const reason = 'by the service'
  return {
    async create(given) {
      const created = await apiKeys.create(given)
      const { id, ownerId: principalId, name, roles, scopes, expiresAt } = created.key
      const details = { name, roles: [...roles], scopes: [...scopes], expiresAt }
      const fields = { principalId, ...resourceOf(id), details }
      securityEvents.emit('sessions.api_key_created', fields)
      return created
    },
    async rotate(id, overlapMs) {
      const rotated = await apiKeys.rotate(id, overlapMs)
      const { ownerId: principalId, expiresAt } = rotated.key
      const fields = { principalId, ...resourceOf(id), details: { expiresAt } }
      securityEvents.emit('sessions.api_key_rotated', fields)
      return rotated
    },
    async revoke(id) {
      const existed = await apiKeys.revoke(id)
      if (existed) emitRevoked(securityEvents, 'api-key', reason, resourceOf(id))
      return existed
    },
    async revokeAll(ownerId) {
      await apiKeys.revokeAll(ownerId)
      emitRevoked(securityEvents, 'api-key', `${reason}, all of the owner`, {
        principalId: ownerId,
      })
    },
    verify: (text) => apiKeys.verify(text),
    list: (ownerId) => apiKeys.list(ownerId),
  }
}

/** Names an API key in an event. */
export function resourceOf(keyId: string): {
  readonly resourceType: string
  readonly resourceId: string
} {
  return { resourceType: 'api-key', resourceId: keyId }
}
