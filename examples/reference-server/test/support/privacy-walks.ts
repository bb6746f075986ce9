/** Walks through the routes of data requests and consents, for the test of their records. */
import type { SubjectMessage } from '@parapet/privacy'
import type { FastifyInstance } from 'fastify'
import type { Answer, createClient, Headers } from './test-app.ts'

interface Parts extends Pick<ReturnType<typeof createClient>, 'ask' | 'register'> {
  readonly app: FastifyInstance
  readonly admin: { readonly id: string; readonly headers: Headers }
  /** What was sent to subjects. */
  readonly messages: readonly SubjectMessage[]
}

interface Done {
  readonly answer: Answer
  readonly by?: string
  readonly id?: string
  readonly members?: readonly string[]
}

const API = '/api/v1/privacy'
const text = (value: unknown) => String(value)

/** @returns one walk for each route */
export function createPrivacyWalks({ app, ask, register, admin, messages }: Parts) {
  const chief = admin.headers
  const tokenOf = () => messages.findLast(({ kind }) => kind === 'confirm')!.token
  const confirm = () => ask({}, 'POST', `${API}/requests/confirm`, { token: tokenOf() })
  const open = async (type: string) => {
    const user = await register('viewer')
    const answer = await ask(user.headers, 'POST', `${API}/requests`, { type })
    return { user, answer, id: text(answer.body['id']) }
  }
  const opened = async (type: string) => {
    const request = await open(type)
    await confirm()
    return request
  }
  const until = async (id: string, state: string): Promise<void> => {
    for (let turn = 0; (await app.privacy.findRequest(id))?.state !== state; turn++) {
      if (turn > 20_000) throw new Error(`the request never was ${state}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const archive = async () => {
    const request = await opened('access')
    await until(request.id, 'ready')
    const url = `${API}/requests/${request.id}/link`
    return { ...request, answer: await ask(request.user.headers, 'POST', url) }
  }
  const hold = () =>
    ask(chief, 'POST', `${API}/admin/holds`, { subject: 'nobody', reason: 'r', basis: 'b' })
  const decide = async (route: string, payload?: object): Promise<Done> => {
    const { id } = await opened('restriction')
    const answer = await ask(chief, 'POST', `${API}/admin/requests/${id}/${route}`, payload)
    return { answer, by: admin.id, id }
  }
  const consent = async (method: 'PUT' | 'DELETE', payload?: object): Promise<Done> => {
    const { id, headers } = await register('viewer')
    const url = `${API}/consents/marketing_emails`
    return { answer: await ask(headers, method, url, payload), by: id }
  }
  const walks: Readonly<Record<string, () => Promise<Done>>> = {
    'POST /requests': async () => {
      const { answer, user } = await open('restriction')
      return { answer, by: user.id }
    },
    'POST /requests/by-contact': async () => {
      const body = { type: 'restriction', contact: 'somebody@example.com' }
      return { answer: await ask({}, 'POST', `${API}/requests/by-contact`, body) }
    },
    'POST /requests/confirm': async () => {
      await open('restriction')
      return { answer: await confirm() }
    },
    'POST /requests/:id/withdraw': async () => {
      const { user, id } = await open('restriction')
      const answer = await ask(user.headers, 'POST', `${API}/requests/${id}/withdraw`)
      return { answer, by: user.id, id }
    },
    'POST /requests/:id/link': async () => {
      const { answer, user, id } = await archive()
      return { answer, by: user.id, id }
    },
    'POST /archives': async () => {
      const { link } = (await archive()).answer.body
      return { answer: await ask({}, 'POST', `${API}/archives`, { link }) }
    },
    'PUT /consents/:purpose': () => consent('PUT', { state: 'granted', noticeVersion: '2026-11' }),
    'DELETE /consents/:purpose': () => consent('DELETE'),
    'POST /admin/requests/:id/approve': () => decide('approve'),
    'POST /admin/requests/:id/reject': () => decide('reject', { reason: 'unfounded' }),
    'POST /admin/requests/:id/extend': () => decide('extend', { months: 1, reason: 'complex' }),
    'POST /admin/requests/:id/retry': async () => {
      const user = await register('viewer')
      // The only administrator cannot be erased, so this part fails.
      await ask(chief, 'PUT', `/api/v1/users/${user.id}/roles`, { roles: ['admin'] })
      const { id } = await app.privacy.request({ subject: user.id, type: 'erasure' })
      await until(id, 'partial')
      const answer = await ask(chief, 'POST', `${API}/admin/requests/${id}/retry`)
      return { answer, by: admin.id, id }
    },
    'POST /admin/holds': async () => ({ answer: await hold(), by: admin.id }),
    'POST /admin/holds/:id/release': async () => {
      const url = `${API}/admin/holds/${text((await hold()).body['id'])}/release`
      return { answer: await ask(chief, 'POST', url, { reason: 'over' }), by: admin.id }
    },
    'POST /admin/sweeps': async () => ({
      answer: await ask(chief, 'POST', `${API}/admin/sweeps`, { dryRun: true }),
      by: admin.id,
    }),
  }
  return Object.fromEntries(
    Object.entries(walks).map(([route, walk]) => [route.replace(' ', ` ${API}`), walk]),
  )
}
