/** Real services for tests. If a service is missing, the test is reported as skipped. */
export { useMysql, type MysqlAddress } from './mysql-server.ts'
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
export {
  findExecutable,
  findFreePort,
  ServerProcess,
  type ServerCommand,
} from './server-process.ts'
export { missService, type TestContext } from './test-context.ts'
