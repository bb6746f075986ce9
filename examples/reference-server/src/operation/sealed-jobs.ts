/** Jobs whose payload is encrypted in the queue: those of mail name addresses, and ended jobs are kept for days. */
import type { Cipher, Job, JobData, Jobs } from '@parapet/kit'

const CONTEXT = ['reference-server', 'job']

/** Wraps jobs. A job that was stored without encryption, by an older version, runs as well. */
export function createSealedJobs(jobs: Jobs, cipher: Cipher): Jobs {
  return {
    ...jobs,
    define<Data extends JobData>(
      name: string,
      handler: (job: Job<Data>) => Promise<void>,
      options?: object,
    ) {
      jobs.define(
        name,
        async (job) => {
          const { sealed } = job.data
          if (typeof sealed !== 'string') return handler(job as Job<Data>)
          const data = JSON.parse((await cipher.open(sealed, CONTEXT)).toString()) as Data
          return handler({ ...job, data })
        },
        options,
      )
    },
    enqueue: async (name, data, options) =>
      jobs.enqueue(name, { sealed: await cipher.seal(JSON.stringify(data), CONTEXT) }, options),
  }
}
