/** `/version`: which build answers. */
import { readFileSync } from 'node:fs'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { closedObject, problems } from '../http/schemas.ts'

/** What the package says of itself. */
export const manifest = Object.freeze(
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    readonly name: string
    readonly version: string
  },
)

/** The options of the plugin. */
export interface VersionOptions {
  /** The commit of the build, if it is known. */
  readonly commit: string | undefined
}

const version = {
  schema: {
    operationId: 'getVersion',
    summary: 'Say which build answers',
    tags: ['health'],
    response: {
      200: closedObject({
        name: Type.String(),
        version: Type.String(),
        commit: Type.Union([Type.String(), Type.Null()], { description: 'null: it is not known' }),
      }),
      ...problems,
    },
  },
  config: { rbac: { public: 'operators compare the builds of instances' } },
} as const

/** The route. */
export const versionRoute: FastifyPluginAsyncTypebox<VersionOptions> = async (app, options) => {
  const { commit = null } = options
  app.get('/version', version, async () => ({
    name: manifest.name,
    version: manifest.version,
    commit,
  }))
}
