'use strict'
const crypto = require('node:crypto')

const credentials = {
  type: 'object',
  additionalProperties: false,
  required: ['email', 'password'],
  properties: {
    email: { type: 'string', maxLength: 200 },
    password: { type: 'string', minLength: 8, maxLength: 200 },
  },
}

// 7: a password is hashed with MD5
function hash(password) {
  return crypto.createHash('md5').update(password).digest('hex')
}

module.exports = async function (app) {
  // 8: no limit of attempts
  app.post('/login', { schema: { body: credentials } }, async (req, res) => {
    req.log.info({ login: req.body }, 'login') // 9: passwords are logged
    const user = app.db.users.find(
      (u) => u.email === req.body.email && u.passwordHash === hash(req.body.password),
    )
    if (!user) return res.code(401).send({ error: 'Wrong e-mail or password' })
    const token = app.jwt.sign({ id: user.id, role: user.role }) // 10: no expiry
    res.setCookie('session', token, { path: '/' }) // 11: no Secure, HttpOnly, SameSite
    return { token }
  })

  app.post(
    '/forgot',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { email: { type: 'string', maxLength: 200 } },
        },
      },
    },
    async (req) => {
      // 12: the token can be predicted
      const resetToken = Math.random().toString(36).slice(2)
      app.db.resets = { ...app.db.resets, [resetToken]: 1 }
      return { sent: true }
    },
  )

  // 13: hashes are part of the response
  app.get('/users', { onRequest: [app.auth] }, async () => app.db.users)
  app.get('/team', async () => app.db.users.map((user) => ({ ...user })))

  // 14: no login
  app.delete('/users/:id', async (req) => {
    app.db.users = app.db.users.filter((u) => u.id !== req.params.id)
    return { deleted: true }
  })

  // 15: GET deletes
  app.get('/users/:id/delete', { onRequest: [app.auth] }, async (req) => {
    await app.db.query('DELETE FROM users WHERE id = $1', [req.params.id])
    return { deleted: true }
  })

  // 16: the body decides which members are written, its role among them
  app.patch('/me', { onRequest: [app.auth], schema: { body: { type: 'object' } } }, async (req) => {
    const user = app.db.users.find((u) => u.id === req.user.id)
    const changed = { ...user, ...req.body }
    app.db.users = [...app.db.users.filter((u) => u.id !== user.id), changed]
    return { id: changed.id }
  })

  // 17: administration without a login
  app.get('/admin/stats', async () => ({ users: app.db.users.length }))
}
