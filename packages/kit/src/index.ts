/**
 * `@parapet/kit`: the shared alphabet of the Parapet plugins. It holds no policy: mechanisms and
 * contracts only, on nothing but Node itself.
 */
export { clientKey, createCidrMatcher, parseAddress } from './address.ts'
export { createBreaker, type Breaker, type BreakerOptions, type BreakerState } from './breaker.ts'
export {
  createLocalCipher,
  encodeContext,
  generateCipherKey,
  parseCipherKeys,
  type Cipher,
  type CipherContext,
  type CipherKey,
} from './cipher.ts'
export { createManualClock, systemClock, type Clock, type ManualClock } from './clock.ts'
export { secretsEqual } from './constant-time.ts'
export { withDeadline } from './deadline.ts'
export { createError, type CodedError, type CodedErrorConstructor } from './error.ts'
export * from './errors.ts'
export { createMemoryStore, type MemoryStoreOptions } from './memory-store.ts'
export { migrate, type Migration, type MigrationReport } from './migrate.ts'
export {
  option,
  type OptionFaults,
  type OptionReader,
  type OptionSettings,
  type OptionValue,
} from './option-readers.ts'
export {
  optionGroup,
  readOptions,
  type InvalidOptionConstructor,
  type OptionTable,
} from './options.ts'
export { declarePhase, phases, type Phase } from './phases.ts'
export { parsePrincipal, usePrincipal, type Principal, type PrincipalMapping } from './principal.ts'
export {
  problemErrorHandler,
  problemMediaType,
  problemNotFoundHandler,
  toProblem,
  type ProblemDetails,
} from './problem.ts'
export { takeRandom } from './random.ts'
export type { RedisClientLike } from './redis-exchange.ts'
export { createRedisStore, type RedisStoreOptions } from './redis-store.ts'
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
} from './security-events.ts'
export {
  createSqlClient,
  type PgliteLike,
  type PgPoolLike,
  type SqlClient,
  type SqlQueryable,
  type SqlResult,
  type SqlTransaction,
} from './sql.ts'
export { kitEvents, useStoreEvents } from './store-events.ts'
export type {
  CountReading,
  CountResult,
  CountWindow,
  Store,
  SubscriptionListener,
  TimelineEntry,
} from './store.ts'
export { createUuidV7, uuidV7, type UuidSources } from './uuid.ts'
