/** Makes the parts of the service from the settings, and defines its jobs. */
import { createLocalCipher, parseCipherKeys, type Jobs } from '@parapet/kit'
import { ConsentCache } from './consent/consent-cache.ts'
import { Consents } from './consent/consents.ts'
import { createMemoryParts, createSqlParts } from './export/archive-parts.ts'
import { createPseudonyms, deriveSigningKey } from './identity/pseudonyms.ts'
import { createReceiptSigner, readSigningKey } from './identity/receipts.ts'
import { createMemoryLedger, createSqlLedger } from './ledger/ledger.ts'
import type { PrivacySettings } from './options.ts'
import { Holds } from './requests/holds.ts'
import type { RequestType } from './requests/request.ts'
import { RequestRepository } from './requests/request-repository.ts'
import { SourceRegistry } from './sources/registry.ts'
import { createMemoryRecords } from './storage/memory-records.ts'
import { createSqlRecords } from './storage/records-postgres.ts'
import { SignedRecords } from './storage/signed-records.ts'
import {
  callPort,
  deliverSealed,
  jobNames,
  type EmitPrivacyEvent,
  type PrivacyContext,
} from './service/context.ts'
import { identify } from './service/open-request.ts'
import { runMessageJob, type MessageJob } from './service/outbox.ts'
import { createOwnSource } from './service/own-source.ts'
import { runSweep } from './service/privacy.ts'
import { RUN_TIMEOUT_MS } from './service/lease.ts'
import { runRequest } from './service/run-request.ts'
import { tick, TICK_MS } from './service/tick.ts'

/** What the plugin gives besides the settings. */
export interface AssemblePorts {
  readonly jobs: Jobs
  readonly emit: EmitPrivacyEvent
  readonly onError: (error: unknown, message: string) => void
}

/** With growing pauses about a day: as long as a mail server may be away. */
const TELL_RETRIES = 13

/** The channel on which instances tell each other whose consents have changed. */
const CHANNEL = 'privacy:consents'

/** Makes the parts. */
export function assemble(settings: PrivacySettings, ports: AssemblePorts): PrivacyContext {
  const { sql, clock, store, purposes, consentCacheMs } = settings
  const { consentsPerDay: decisionsPerDay } = settings
  const pseudonyms = createPseudonyms(Buffer.from(settings.secret, 'base64url'))
  const cipher = settings.cipher ?? createLocalCipher(parseCipherKeys(settings.keys!))
  const stored =
    settings.records ?? (sql === undefined ? createMemoryRecords() : createSqlRecords(sql))
  const records = new SignedRecords(stored, pseudonyms)
  const onDamaged = (error: unknown) => ports.onError(error, 'privacy left out a damaged record')
  const parts = settings.archives ?? (sql === undefined ? createMemoryParts() : createSqlParts(sql))
  const ledger =
    settings.ledger ?? (sql === undefined ? createMemoryLedger() : createSqlLedger(sql))
  const cache = new ConsentCache(clock, consentCacheMs)
  const shared = { records, cipher, pseudonyms }
  const consents = new Consents({ ...shared, clock, purposes, decisionsPerDay })
  const signingKey = settings.signingKey === undefined ? null : readSigningKey(settings.signingKey)
  const key = signingKey ?? deriveSigningKey(Buffer.from(settings.secret, 'base64url'))
  const announce = async (subject: string): Promise<void> => {
    cache.drop(subject)
    if (store === undefined) return
    try {
      await callPort({ clock, settings }, 'store', () => store.publish(CHANNEL, subject))
    } catch (error) {
      // The decision is stored. Other instances notice it when their cache ends.
      ports.onError(error, 'privacy could not tell other instances of a changed consent')
    }
  }
  return {
    ...ports,
    records,
    parts,
    ledger,
    cache,
    consents,
    pseudonyms,
    cipher,
    clock,
    announce,
    requests: new RequestRepository(records, cipher, onDamaged),
    holds: new Holds(records, pseudonyms, clock),
    registry: new SourceRegistry(),
    signer: createReceiptSigner(key),
    settings,
  }
}

/** Follows the decisions that other instances record. @returns a function that stops it */
export async function followConsents(
  { cache }: Pick<PrivacyContext, 'cache'>,
  { store }: Pick<PrivacySettings, 'store'>,
): Promise<() => Promise<void>> {
  if (store === undefined) return async () => {}
  return store.subscribe(CHANNEL, {
    message: (subject) => cache.drop(subject),
    interrupted: () => cache.clear(),
    restored: () => cache.clear(),
  })
}

/** Registers the sources of the options, and the own one. */
export function registerSources(context: PrivacyContext, { sources }: PrivacySettings): void {
  context.registry.registerLast(createOwnSource(context))
  for (const source of sources) context.registry.register(source)
}

/** Says how the jobs run. Every instance defines them. */
export function defineJobs(context: PrivacyContext, { sweepDryRun }: PrivacySettings): void {
  const { jobs } = context
  const options = { retries: 5, backoffMs: 10_000 }
  jobs.define<{ id: string }>(
    jobNames.run,
    ({ data, signal }) => runRequest(context, data.id, signal),
    { ...options, timeoutMs: RUN_TIMEOUT_MS, concurrency: 2 },
  )
  jobs.define<{ type: RequestType; sealed: string }>(
    jobNames.identify,
    ({ data }) => identify(context, data),
    options,
  )
  jobs.define<{ sealed: string } | MessageJob>(
    jobNames.tell,
    ({ data }) => ('sealed' in data ? deliverSealed(context, data) : runMessageJob(context, data)),
    { ...options, retries: TELL_RETRIES },
  )
  jobs.define(jobNames.tick, ({ signal }) => tick(context, signal), {
    ...options,
    timeoutMs: RUN_TIMEOUT_MS,
  })
  jobs.define(
    jobNames.sweep,
    async ({ signal }) => void (await runSweep(context, sweepDryRun, signal)),
    { ...options, timeoutMs: 3_600_000 },
  )
}

/** Starts what recurs. */
export async function scheduleJobs(
  { jobs }: PrivacyContext,
  { sweepSchedule }: PrivacySettings,
): Promise<void> {
  await jobs.every(jobNames.tick, TICK_MS)
  await jobs.every(jobNames.sweep, sweepSchedule)
}
