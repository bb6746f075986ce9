/** What the decorators of replies share. */
import type { FastifyReply } from 'fastify'
import type { Block } from '../../headers/block.ts'
import type { Parts } from '../request/parts.ts'
import type { CacheGuard } from './cache-control.ts'
import type { ForeignHeaders } from './foreign-headers.ts'
import type { HeaderAccess } from './header-access.ts'
import type { Kind, ValueChecks } from './values.ts'

/** What the hooks use to set headers. */
export interface ReplyHeaders {
  /** Sets a header without checks. */
  readonly set: (reply: FastifyReply, name: string, value: string) => void
  /** Sets every header of a block. */
  readonly apply: (reply: FastifyReply, block: Block) => void
  /** Keeps a response that has just become personal out of shared caches. */
  readonly keepPersonal: (reply: FastifyReply) => void
}

/** What the decorators share. */
export interface Services {
  readonly parts: Parts
  readonly kinds: ReadonlyMap<string, Kind>
  readonly foreign: ForeignHeaders
  readonly cache: CacheGuard
  readonly values: ValueChecks
  readonly headers: HeaderAccess
  readonly set: ReplyHeaders['set']
  readonly apply: ReplyHeaders['apply']
}

/** Whether the block is set. It is not in replies of hooks that run before those of this plugin. */
export const kApplied = Symbol('@parapet/security-headers:applied')
/** A reply with the mark. */
export type AppliedReply = FastifyReply & { [kApplied]?: boolean }
