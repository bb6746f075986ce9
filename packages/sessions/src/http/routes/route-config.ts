/** What these routes declare to the plugins of the family, whatever the order of registration. */
import type { FastifyContextConfig } from 'fastify'

/** For routes that a client calls before it is logged in. @param reason why that is safe, for `rbac` */
export function publicRoute(reason: string): FastifyContextConfig {
  return withPolicy({ sessions: 'ignored' }, { public: reason })
}

/** For routes of a user who is logged in. @param reason why no permission is needed, for `rbac` */
export function ownRoute(reason: string): FastifyContextConfig {
  return withPolicy({ sessions: 'required' }, { authenticated: reason })
}

/** The member `rbac` is not in the types here, because no plugin imports another one. */
function withPolicy(own: FastifyContextConfig, rbac: object): FastifyContextConfig {
  return { ...own, ...({ rbac } as object) }
}
