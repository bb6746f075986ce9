/** Adds everything that sees requests: hooks, decorators, and the routes of the challenge. */
import { useSecurityEvents, usePrincipal, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { BehaviourScorer } from '../behaviour/types.ts'
import { createPasses } from '../challenge/pass.ts'
import { createProofOfWork } from '../challenge/proof-of-work.ts'
import type { Containment } from '../contain/containment.ts'
import { events } from '../events.ts'
import type { GeoDecision } from '../inspect/geo-types.ts'
import type { Inspector, InspectorSettings } from '../inspect/types.ts'
import type { Guard } from '../service/guard.ts'
import { CountWindows } from '../windows/windows.ts'
import { BehaviourWatch } from './behaviour-watch.ts'
import { ChallengeGate } from './challenge-gate.ts'
import { addChallengeRoutes } from './challenge-routes.ts'
import { createClientReader, type Client } from './client.ts'
import { addContainmentHooks } from './containment-hooks.ts'
import { feedEvents } from './feed-events.ts'
import { addGeoHook } from './geo-hook.ts'
import { addInspectHook } from './inspect-hook.ts'
import { addObserveHook } from './observe-hook.ts'
import { RefusalLog } from './refusals.ts'
import { RequestGuard } from './request-anomaly.ts'
import { InFlight } from './request-state.ts'
import { compileRules } from './route-rule.ts'

/** See {@link registerGuard}. */
export interface RegisterSettings {
  readonly plugin: string
  readonly guard: Guard
  readonly scorer: BehaviourScorer | undefined
  readonly createInspector: (settings: InspectorSettings) => Inspector
  readonly decideGeo: ((address: string) => GeoDecision) | undefined
}

/** Adds the hooks, in the order in which they see a request. */
export async function registerGuard(
  app: FastifyInstance,
  { plugin, guard, scorer, createInspector, decideGeo }: RegisterSettings,
): Promise<void> {
  const { settings, clock, hash } = guard
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const rules = compileRules(app, plugin)
  const clientOf = createClientReader(hash, guard.allowlist)
  const refusals = new RefusalLog(securityEvents, clock, settings.breakGlassSha256)
  const challenge = await createChallenge(app, guard, clientOf, securityEvents)
  const states = decorateRequest(app, guard, clientOf, challenge?.gate)
  const inFlight = new InFlight()
  const parts = { guard, rules, clientOf, refusals }

  app.addHook('onRequest', function anomalyGuardFollow(request, _reply, done) {
    inFlight.add(request)
    done()
  })
  addContainmentHooks(app, {
    ...parts,
    principalOf,
    gate: challenge?.gate,
    stateOf: states.make,
  })
  if (decideGeo !== undefined) addGeoHook(app, guard, decideGeo, clientOf, refusals)
  if (settings.inspect.enabled) {
    const keep = (request: FastifyRequest, inspection: RequestGuard['inspection']) => {
      states.make(request).inspection = inspection
    }
    addInspectHook(app, { ...parts, createInspector, keep })
  }
  const behaviour =
    scorer === undefined ? undefined : new BehaviourWatch(scorer, guard, states.find)
  const countryOf =
    decideGeo === undefined ? undefined : (address: string) => decideGeo(address).country
  addObserveHook(app, { guard, rules, clientOf, stateOf: states.find, behaviour, countryOf })
  app.addHook('onResponse', function anomalyGuardForget(request, _reply, done) {
    inFlight.remove(request)
    done()
  })
  // After the hooks: a route has those that exist when it is declared.
  await challenge?.addRoutes()
  const stopFeed = feedEvents(securityEvents, { guard, clientOf, inFlight, stateOf: states.make })
  app.addHook('onClose', async () => {
    stopFeed()
    await guard.stop()
  })
}

/** One object for each request that asks for it. */
function decorateRequest(
  app: FastifyInstance,
  guard: Guard,
  clientOf: (ip: string) => Client,
  gate: ChallengeGate | undefined,
) {
  const states = new WeakMap<FastifyRequest, RequestGuard>()
  const make = (request: FastifyRequest): RequestGuard => {
    let state = states.get(request)
    if (state === undefined) {
      const client = () => clientOf(request.ip)
      const hasPass = (found: Containment) => gate?.admits(request, client().key, found) === true
      state = new RequestGuard(request, guard, client, hasPass)
      states.set(request, state)
    }
    return state
  }
  app.decorateRequest('anomaly', {
    getter(this: FastifyRequest) {
      return make(this)
    },
  })
  return { make, find: (request: FastifyRequest) => states.get(request) }
}

/** Passes whose requests are counted; of more, those that were used least start anew. */
const MAX_PASSES = 20_000

async function createChallenge(
  app: FastifyInstance,
  guard: Guard,
  clientOf: (ip: string) => Client,
  securityEvents: SecurityEvents,
): Promise<{ gate: ChallengeGate; addRoutes: () => Promise<void> } | undefined> {
  const { settings, store, clock, secret, report, tick } = guard
  if (settings.challenge === undefined) return undefined
  const { prefix, difficulty, passMs, passRequests } = settings.challenge
  const passes = createPasses(secret, passMs, clock)
  const onError = report.failed
  const proofOfWork = await createProofOfWork({ store, clock, secret, difficulty, onError })
  const gate = new ChallengeGate({
    passes,
    prefix: `${app.prefix}${prefix}`,
    spent: new CountWindows({ windowMs: passMs, capacity: passRequests, maxKeys: MAX_PASSES }),
    hash: guard.hash,
    tick,
  })
  const onAnswer = (request: FastifyRequest, passed: boolean): void => {
    const fields = { outcome: passed ? ('success' as const) : ('failure' as const) }
    securityEvents.emit(
      'anomaly_guard.challenge_answered',
      { ...fields, details: { passed } },
      request,
    )
  }
  const addRoutes = () =>
    addChallengeRoutes(app, { prefix, gate, passes, proofOfWork, clientOf, tick, onAnswer })
  return { gate, addRoutes }
}
