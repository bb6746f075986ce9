/**
 * The process: reads the environment, serves requests until a signal, and exits with 0 or 1.
 *
 * With the argument `migrate` it only brings the database up to date and grants the server its rights, for a
 * deployment in which the server itself may not change tables.
 */
import type { FastifyBaseLogger } from 'fastify'
import { buildApp } from './app.ts'
import { readConfig, servesWithoutTls, type Config } from './config/environment.ts'
import { withSecretFiles } from './config/secret-files.ts'
import { createLog } from './logging/log.ts'
import { announce } from './operation/announcement.ts'
import { migrateDatabase } from './operation/migration.ts'
import { shutDown } from './operation/shutdown.ts'
import { renderStartPage } from './operation/start-page.ts'

const config = await configOrExit()
const log = createLog(config)
exitOnUncaughtError(log)
if (process.argv[2] === 'migrate') await migrateDatabase(config, log)
else stopOnSignal(serve(config, log), config, log)

async function configOrExit(): Promise<Config> {
  try {
    return readConfig(await withSecretFiles(process.env))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return process.exit(1)
  }
}

async function serve(config: Config, log: FastifyBaseLogger) {
  const app = await buildApp(config, { log })
  if (servesWithoutTls(config)) {
    log.warn(
      'HOST is reachable from the network without TLS; passwords and tokens are sent in clear ' +
        'text. Put a TLS proxy in front and set PUBLIC_URL to its https origin.',
    )
  }
  await app.listen({ port: config.port, host: config.host })
  await announce(app, config)
  const isTerminal = process.stderr.isTTY
  // Not on the standard output, which has one JSON object a line.
  process.stderr.write(await renderStartPage(app, config, { isTerminal }))
  return app
}

/** After an uncaught error the state of the process is unknown, so it exits. */
function exitOnUncaughtError(log: FastifyBaseLogger): void {
  const exit = (error: unknown): never => {
    log.fatal({ err: error }, 'uncaught error, the process exits')
    process.exit(1)
  }
  process.on('uncaughtException', exit)
  process.on('unhandledRejection', exit)
}

/**
 * Shuts down at the first SIGINT or SIGTERM and exits immediately at the second one.
 *
 * @param serving the app; a signal during the start waits for it, so that the database is not left
 *   half created.
 */
function stopOnSignal(
  serving: ReturnType<typeof serve>,
  { shutdownTimeoutMs }: Config,
  log: FastifyBaseLogger,
): void {
  let stopping = false
  const stop = async (signal: NodeJS.Signals): Promise<never> => {
    if (stopping) process.exit(1)
    stopping = true
    log.info({ signal }, 'stopping')
    process.exit((await shutDown(await serving, shutdownTimeoutMs)) ? 0 : 1)
  }
  process.on('SIGINT', (signal) => void stop(signal))
  process.on('SIGTERM', (signal) => void stop(signal))
}
