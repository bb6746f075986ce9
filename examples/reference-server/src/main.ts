/** The process: reads the environment, serves until told to stop, and ends with a truthful exit code. */
import type { FastifyBaseLogger } from 'fastify'
import { buildApp } from './app.ts'
import { isInTheClear, readConfig, type Config } from './config.ts'
import { createLog } from './logging.ts'
import { shutDown } from './shutdown.ts'

const config = configOrExit()
const log = createLog(config)
exitOnFault(log)
stopOnSignal(serve(config, log), config, log)

function configOrExit(): Config {
  try {
    return readConfig(process.env)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return process.exit(1)
  }
}

async function serve(config: Config, log: FastifyBaseLogger) {
  const app = await buildApp(config, { log })
  if (isInTheClear(config)) {
    log.warn('passwords and tokens cross the network in the clear: put TLS in front of this port')
  }
  await app.listen({ port: config.port, host: config.host })
  return app
}

/** What nobody caught left the process in a state that nobody knows. */
function exitOnFault(log: FastifyBaseLogger): void {
  const exit = (error: unknown): never => {
    log.fatal({ err: error }, 'the process cannot go on')
    process.exit(1)
  }
  process.on('uncaughtException', exit)
  process.on('unhandledRejection', exit)
}

/** @param serving the app; a signal during the start waits for it, so no database stays half made. */
function stopOnSignal(
  serving: ReturnType<typeof serve>,
  { shutdownTimeoutMs }: Config,
  log: FastifyBaseLogger,
): void {
  let stopping = false
  const stop = async (signal: NodeJS.Signals): Promise<never> => {
    // Whoever asks twice does not want to wait.
    if (stopping) process.exit(1)
    stopping = true
    log.info({ signal }, 'stopping')
    process.exit((await shutDown(await serving, shutdownTimeoutMs)) ? 0 : 1)
  }
  process.on('SIGINT', (signal) => void stop(signal))
  process.on('SIGTERM', (signal) => void stop(signal))
}
