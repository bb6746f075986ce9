/** Attacks by what is sent. */
import { must, requireRefusal, type Step } from '../step.ts'
import { tokenOf } from '../target.ts'

export const sqlInjection: Step = {
  name: 'SQL injection',
  tries: 'puts SQL into the search, the name filter, the cursor and an id',
  seenIn: 'console › anomalies: payload_attack',
  async run(target) {
    const payloads = [
      `/api/v1/content?q=${encodeURIComponent(`' OR '1'='1' --`)}`,
      `/api/v1/artists/search?name=${encodeURIComponent(`x'; DROP TABLE users; --`)}`,
      `/api/v1/artists?cursor=${encodeURIComponent(`' UNION SELECT`)}`,
      `/api/v1/artists/${encodeURIComponent('1 OR 1=1')}`,
    ]
    for (const path of payloads) {
      requireRefusal(await target.nextClient().send('GET', path), [400, 403])
    }
    const token = await tokenOf(target, 'admin')
    const { body } = await target.nextClient().send('GET', '/api/v1/users', { token })
    must((body['items'] as unknown[]).length >= 3, 'users are missing')
    return `${payloads.length} of ${payloads.length} refused with 400; all users are still there`
  },
}

export const scripts: Step = {
  name: 'Stored cross-site scripting',
  tries: 'an editor publishes an article with a script, a handler and a javascript: link',
  seenIn: 'the article itself: only its harmless part was stored',
  async run(target) {
    const token = await tokenOf(target, 'editor')
    const client = target.nextClient()
    const me = await client.send('GET', '/api/v1/users/me', { token })
    const dirty =
      '<p onclick="steal()">Hi <script>steal()</script><a href="javascript:steal()">you</a></p>'
    const article = { authorId: me.body['id'], title: 'Attack', body: dirty, status: 'published' }
    const made = await client.send('POST', '/api/v1/content', { token, body: article })
    // The inspection may refuse such a body before it is cleaned.
    if (made.status !== 201) return requireRefusal(made, [400, 403])
    // A later step ends the sessions of the editor.
    const admin = await tokenOf(target, 'admin')
    target.undoLater('the article', async () => {
      const path = `/api/v1/content/${String(made.body['id'])}`
      const { status } = await target.nextClient().send('DELETE', path, { token: admin })
      must(status === 204, `it could not be deleted: ${status}`)
    })
    const text = String(made.body['body'])
    must(!/script|onclick|steal/i.test(text), `stored: ${text}`)
    return `stored as ${text}`
  },
}

export const fileNames: Step = {
  name: 'Path traversal',
  tries: 'uploads a file named like a system file, and downloads one by a path',
  seenIn: 'console › live feed: requests with 400',
  async run(target) {
    const token = await tokenOf(target, 'viewer')
    const client = target.nextClient()
    const name = encodeURIComponent('../../etc/passwd')
    const headers = { 'content-type': 'application/octet-stream' }
    const upload = await client.send('POST', `/api/v1/files?name=${name}`, { token, headers })
    const first = requireRefusal(upload, [400, 403])
    const download = await client.send('GET', '/api/v1/files/..%2f..%2fetc%2fpasswd/content', {
      token,
    })
    return `${first}; ${requireRefusal(download, [400, 403, 404])}`
  },
}
