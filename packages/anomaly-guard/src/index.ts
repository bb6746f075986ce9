/**
 * Recognises attacks in progress, explains why, and contains them without locking out the innocent.
 *
 * Rules over exact sliding windows, an inspection of payloads and a learned score of behaviour find anomalies;
 * containments are enforced from the memory of each instance and shared through the store. Until rules are
 * promoted, they only record.
 */
import { declarePhase, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { createBehaviourScorer } from './behaviour/scorer.ts'
import { events } from './events.ts'
import { refuseForgedAddresses } from './http/client.ts'
import { createEventReporter } from './http/event-reporter.ts'
import { registerGuard } from './http/register.ts'
import type { RequestAnomaly } from './http/request-anomaly.ts'
import type { AnomalyRule } from './http/route-rule.ts'
import { createGeoRules, openCountryDatabase } from './inspect/geo.ts'
import type { GeoDecision } from './inspect/geo-types.ts'
import { createInspector } from './inspect/inspector.ts'
import { resolveOptions, type AnomalyGuardOptions, type AnomalyGuardSettings } from './options.ts'
import { createAnomalyApi, type AnomalyGuard } from './service/anomaly-api.ts'
import { describeBoot } from './service/boot-line.ts'
import { createGuard } from './service/guard.ts'

// What an app needs beside the plugin, so that a strict package manager finds it.
export { createRedisStore } from '@parapet/kit'
export type { BehaviourModel, FeatureDefinition } from './behaviour/types.ts'
export type { Containment, ContainmentKind, Target } from './contain/containment.ts'
export type { ContainmentResult, Spared } from './contain/containments.ts'
export type { Revoke, StepUp, Tighten, TightenedClient } from './contain/ports.ts'
export * from './errors.ts'
export { fitForest, IsolationForest } from './forest/forest.ts'
export { readForest, writeForest, type ForestFile } from './forest/model-file.ts'
export { readScikitLearnForest, type ScikitLearnForest } from './forest/scikit-learn.ts'
export type * from './forest/types.ts'
// Keeps the typed events in the published declarations; an import for its side effect would be dropped.
export type * from './events.ts'
export type { Attempt, RequestAnomaly } from './http/request-anomaly.ts'
export type { AnomalyRule, RouteInspection } from './http/route-rule.ts'
export type { Anomaly, Verdict } from './incidents/anomaly.ts'
export type { Incident, Pattern } from './incidents/correlate.ts'
export type { Explanation } from './incidents/explain.ts'
export type { Impact } from './incidents/impact.ts'
export type { CountryLookup } from './inspect/geo-types.ts'
export { createInspector } from './inspect/inspector.ts'
export type * from './inspect/types.ts'
export { acceptForgedAddresses } from './options.ts'
export type {
  AnomalyGuardOptions,
  BehaviourOptions,
  ChallengeOptions,
  ContainOptions,
  GeoOptions,
  InspectOptions,
} from './options.ts'
export { rules } from './rules/built-in-rules.ts'
export type { EventMapping } from './rules/event-signals.ts'
export type { Detection, Label, Mode, Response, Rule, RuleDefinition } from './rules/rule.ts'
export type { Signal, SignalKey } from './rules/signal.ts'
export type { AnomalyGuard, RuleStatus } from './service/anomaly-api.ts'
export type { Contain, ContainRequest } from './service/contain-api.ts'

declare module 'fastify' {
  interface FastifyInstance {
    anomaly: AnomalyGuard
  }
  interface FastifyRequest {
    readonly anomaly: RequestAnomaly
  }
  interface FastifyContextConfig {
    /** How the route is watched and inspected. */
    anomaly?: AnomalyRule
  }
}

const NAME = '@parapet/anomaly-guard'

async function anomalyGuardPlugin(
  app: FastifyInstance,
  options: AnomalyGuardOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  refuseForgedAddresses(app, settings)
  declarePhase(app, NAME, 'containment')
  const securityEvents = useSecurityEvents(app, events)
  const report = createEventReporter(securityEvents, app.log, settings.clock.now)
  const decideGeo = await createGeo(settings)
  const { enabled, contaminationRatio, seed, ...behaviour } = settings.behaviour
  const guard = createGuard(settings, report)
  const scorer = enabled
    ? createBehaviourScorer({
        ...behaviour,
        contamination: contaminationRatio,
        ...(seed === undefined ? undefined : { seed }),
      })
    : undefined

  app.decorate('anomaly', createAnomalyApi(guard, scorer ?? null))
  await registerGuard(app, { plugin: NAME, guard, scorer, createInspector, decideGeo })
  await guard.start()
  app.log.info(describeBoot(app.anomaly, settings))
}

async function createGeo({
  geo,
}: AnomalyGuardSettings): Promise<((address: string) => GeoDecision) | undefined> {
  if (geo === undefined) return undefined
  const { lookup, database, allow, deny } = geo
  const source = lookup ?? (await openCountryDatabase(database ?? ''))
  return createGeoRules({ deny, ...(allow === undefined ? undefined : { allow }) }, source)
}

/** The plugin. Register it with `await`, before the login and the routes that it protects. */
export const anomalyGuard: FastifyPluginAsync<AnomalyGuardOptions> = fp(anomalyGuardPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default anomalyGuard
