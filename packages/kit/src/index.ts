/**
 * `@parapet/kit`: what the Parapet plugins share. Mechanisms and contracts without policy, on nothing
 * but Node itself.
 */
export { clientKey, createCidrMatcher, parseAddress, parseClientAddress } from './http/address.ts'
export {
  createSealer,
  keyIdOf,
  openSealed,
  parseSealedText,
  SEALED_MARK,
  SEALED_OVERHEAD_BYTES,
  sealedTextLength,
  type Sealer,
} from './crypto/aead.ts'
export { conflict, retryConflicts, updateText, type TextEdit } from './store/compare-and-set.ts'
export { resealAll, type Resealed } from './store/reseal-all.ts'
export {
  followSharedState,
  type SharedState,
  type SharedStateSettings,
} from './store/shared-state.ts'
export { createMemoryJobs, type MemoryJobsOptions } from './jobs/memory-jobs.ts'
export { createPgBossDb, createPgBossJobs, type PgBossJobsOptions } from './jobs/pg-boss-jobs.ts'
export type { PgBossDb, PgBossLike } from './jobs/pg-boss.ts'
export type {
  Enqueued,
  EnqueueOptions,
  Job,
  JobData,
  JobHandler,
  JobOptions,
  JobRecord,
  Jobs,
  JobState,
  JsonValue,
} from './jobs/jobs.ts'
export { readCookie } from './http/cookie.ts'
export { acceptEmptyBody } from './http/empty-body.ts'
export { readFastifyInternal } from './http/fastify-internals.ts'
export { keepAddress, requestSource, type RequestSource } from './http/request-source.ts'
export { trustsEveryProxy } from './http/trusted-proxies.ts'
export { isInside, listRoutes, type RouterRoute } from './http/router-routes.ts'
export { createNamedRoutes, namedRoutePattern, type NamedRoutes } from './http/named-routes.ts'
export { lockFolder, type FolderOwner } from './folder-lock.ts'
export {
  compileRouteRule,
  missedRoute,
  type DeclaredRoute,
  type RouteRules,
  type RouteRuleSettings,
} from './http/route-rule.ts'
export {
  createBreaker,
  type Breaker,
  type BreakerOptions,
  type BreakerState,
} from './store/breaker.ts'
export {
  createLocalCipher,
  encodeContext,
  generateCipherKey,
  parseCipherKeys,
  type Cipher,
  type CipherContext,
  type CipherKey,
} from './crypto/cipher.ts'
export { createManualClock, systemClock, type Clock, type ManualClock } from './time/clock.ts'
export { secretsEqual } from './crypto/constant-time.ts'
export { withDeadline } from './time/deadline.ts'
export { createEventFold, type EventFoldLimits } from './time/event-fold.ts'
export {
  createError,
  replaceForeignErrors,
  type CodedError,
  type CodedErrorConstructor,
} from './error.ts'
export * from './errors.ts'
export { createMemoryStore, type MemoryStoreOptions } from './store/memory-store.ts'
export {
  migrate,
  migrationStatus,
  type MigrationOptions,
  type MigrationReport,
  type MigrationStatus,
} from './sql/migrate.ts'
export type { Migration } from './sql/migration.ts'
export {
  option,
  type OptionFaults,
  type OptionReader,
  type OptionSettings,
  type OptionValue,
} from './options/option-readers.ts'
export {
  optionGroup,
  readOptions,
  type InvalidOptionConstructor,
  type OptionHints,
  type OptionTable,
  type ReadOptionsSettings,
} from './options/options.ts'
export { declarePhase, phases, type Phase } from './http/phases.ts'
export {
  parsePrincipal,
  usePrincipal,
  type Principal,
  type PrincipalMapping,
  type PrincipalReader,
} from './http/principal.ts'
export {
  problemErrorHandler,
  problemMediaType,
  problemNotFoundHandler,
  toProblem,
  type ProblemDetails,
} from './http/problem.ts'
export { takeRandom } from './crypto/random.ts'
export type { RedisClientLike } from './store/redis-exchange.ts'
export { createRedisStore, type RedisStoreOptions } from './store/redis-store.ts'
export {
  useSecurityEvents,
  type Outcome,
  type SecurityEvent,
  type SecurityEventDeclaration,
  type SecurityEventDetails,
  type SecurityEventFields,
  type SecurityEventListener,
  type SecurityEvents,
  type SecurityEventSubject,
  type SecurityEventTable,
  type SecurityEventType,
  type SecurityEventTypes,
  type Severity,
} from './http/security-events.ts'
export { createSqlClient } from './sql/create-sql-client.ts'
export type { PgliteLike } from './sql/pglite-client.ts'
export type { PgPoolLike } from './sql/pool-client.ts'
export type { SqlClient, SqlLimits, SqlQueryable, SqlResult, SqlTransaction } from './sql/sql.ts'
export { kitEvents, useStoreEvents, type StoreEventsOptions } from './http/store-events.ts'
export type {
  CountReading,
  CountResult,
  CountWindow,
  Store,
  StoreRisk,
  SubscriptionListener,
  TimelineEntry,
} from './store/store.ts'
export { createUuidV7, uuidV7, type UuidSources } from './crypto/uuid.ts'
