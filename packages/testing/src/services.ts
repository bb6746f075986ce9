/** Real services for tests. If a service is missing, the test is reported as skipped. */
export {
  startPostgres,
  usePostgres,
  type PostgresFixture,
  type PostgresServer,
} from './postgres-server.ts'
export {
  startRedis,
  startRedisCluster,
  useRedis,
  type RedisFixture,
  type RedisServer,
} from './redis-server.ts'
export type { TestContext } from './test-context.ts'
