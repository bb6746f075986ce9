/** The whole checklist in the order in which it is printed. */
import type { Line, Section } from './line.ts'
import { authentication, authorization, rateLimits } from './lines/access.ts'
import { cookies, cors, csrf, xss } from './lines/browser.ts'
import {
  audit,
  backups,
  errorLeakage,
  incidents,
  logging,
  personalData,
  secrets,
} from './lines/data.ts'
import { injection, validation } from './lines/input.ts'
import { dependencies, headers, tls } from './lines/transport.ts'

/** The sections in order. */
export const sections: readonly Section[] = Object.freeze([
  dependencies,
  headers,
  tls,
  cookies,
  cors,
  csrf,
  authentication,
  authorization,
  rateLimits,
  validation,
  injection,
  xss,
  errorLeakage,
  secrets,
  logging,
  audit,
  personalData,
  backups,
  incidents,
])

/** Every line in order. */
export const checklist: readonly Line[] = Object.freeze(
  sections.flatMap(({ name, lines }) =>
    Object.entries(lines).map(([id, text]) => Object.freeze({ id, section: name, ...text })),
  ),
)

const byId: ReadonlyMap<string, Line> = new Map(checklist.map((line) => [line.id, line]))

/** The line with an id; `undefined`: there is none. */
export function findLine(id: string): Line | undefined {
  return byId.get(id)
}
