/** Real services for tests; each call is one line, and a missing service is an honest skip. */
export {
  startPostgres,
  usePostgres,
  type PostgresFixture,
  type PostgresServer,
} from './postgres-server.ts'
export { startRedis, useRedis, type RedisFixture, type RedisServer } from './redis-server.ts'
export type { TestContext } from './test-context.ts'
