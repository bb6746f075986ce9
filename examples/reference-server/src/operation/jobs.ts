/** Work that outlives a request, at `app.jobs`: in the database, so that a killed process loses none. */
import { createMemoryJobs, createPgBossDb, createPgBossJobs, type Jobs } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Define jobs while the app registers; they run once it is ready. */
    readonly jobs: Jobs
    /** The names that were defined. */
    readonly jobNames: readonly string[]
  }
}

/** The options of the plugin. */
export interface JobsOptions {
  /** Whether jobs outlive the process. @default true */
  readonly durable?: boolean
  /** Jobs that are open already; they are closed with the app. @default opened here */
  readonly jobs?: Jobs | undefined
}

interface OpenJobs {
  readonly jobs: Jobs
  readonly stop: () => Promise<unknown>
}

async function jobsPlugin(app: FastifyInstance, options: JobsOptions): Promise<void> {
  const { jobs, stop } = await openJobs(app, options)
  const names: string[] = []
  const named: Jobs = {
    ...bound(jobs),
    define(name, ...rest) {
      jobs.define(name, ...rest)
      names.push(name)
    },
  }
  app.decorate('jobs', named)
  app.decorate('jobNames', names)
  app.addHook('onReady', () => jobs.start())
  app.addHook('onClose', async () => {
    await jobs.close()
    await stop()
  })
}

async function openJobs(app: FastifyInstance, options: JobsOptions): Promise<OpenJobs> {
  const onError = (error: unknown) => app.log.error({ err: error }, 'a job failed')
  const { durable = true, jobs } = options
  if (jobs === undefined && durable) return openBoss(app, onError)
  return { jobs: jobs ?? createMemoryJobs({ onError }), stop: async () => {} }
}

/** The methods of jobs, which may be those of a class. */
function bound(jobs: Jobs): Jobs {
  return {
    isDurable: jobs.isDurable,
    define: (...args) => jobs.define(...args),
    enqueue: (...args) => jobs.enqueue(...args),
    every: (...args) => jobs.every(...args),
    cancel: (...args) => jobs.cancel(...args),
    find: (...args) => jobs.find(...args),
    dead: (...args) => jobs.dead(...args),
    revive: (...args) => jobs.revive(...args),
    start: () => jobs.start(),
    close: (options) => jobs.close(options),
  }
}

/** pg-boss over the database of the service, also over the embedded one. */
async function openBoss(
  app: FastifyInstance,
  onError: (error: unknown) => void,
): Promise<OpenJobs> {
  const { default: PgBoss } = await import('pg-boss')
  const schema = await schemaOf(app)
  const boss = new PgBoss({ db: createPgBossDb(app.sql), schema })
  boss.on('error', onError)
  await boss.start()
  return {
    jobs: createPgBossJobs(boss, { schema, onError }),
    stop: () => boss.stop({ graceful: false, wait: true }),
  }
}

/** Two services with schemas of their own in one database do not run each other's jobs. */
async function schemaOf({ sql }: FastifyInstance): Promise<string> {
  const { rows } = await sql.query<{ name: string }>('SELECT current_schema()::text AS name')
  return rows[0]!.name === 'public' ? 'pgboss' : rows[0]!.name
}

/** Decorates `app.jobs`. Register it after the database. */
export const jobs = fp(jobsPlugin, { name: 'jobs', fastify: '5.x' })
