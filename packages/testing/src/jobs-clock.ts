/** A clock that only the test moves, for jobs: in the database, and while they close. */

/** `now()` of the database is the clock of the test; it moves by a microsecond with each call. */
export const FAKE_CLOCK = `
  CREATE SCHEMA IF NOT EXISTS fake_clock;
  CREATE TABLE fake_clock.clock (ms float8 NOT NULL);
  INSERT INTO fake_clock.clock VALUES (0);
  CREATE SEQUENCE fake_clock.ticks;
  CREATE FUNCTION fake_clock.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT to_timestamp(ms / 1000) + nextval('fake_clock.ticks') * interval '1 microsecond'
    FROM fake_clock.clock $$;`

interface ClosableJobs {
  close(options: { readonly drainMs: number }): Promise<void>
}

/** Closes jobs whose deadlines follow a clock that nobody else moves. */
export async function closeJobs(
  jobs: ClosableJobs,
  clock: { advance(ms: number): void },
): Promise<void> {
  const state = { isClosed: false }
  const ended = jobs.close({ drainMs: 1 }).finally(() => {
    state.isClosed = true
  })
  while (!state.isClosed) {
    clock.advance(1)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  await ended
}
