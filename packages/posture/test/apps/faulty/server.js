'use strict'
// A shop with 25 planted faults; each is marked by its number. It listens when it is started.

const fastify = require('fastify')
const https = require('node:https')

const app = fastify({
  logger: { level: 'fatal' },
  requestTimeout: 10000,
  trustProxy: true, // 1: any client chooses its address
  bodyLimit: 100 * 1024 * 1024, // 2: bodies of 100 MiB
})

app.register(require('@fastify/cors'), { origin: true, credentials: true }) // 3: any origin with credentials
app.register(require('@fastify/cookie'))
app.register(require('@fastify/jwt'), {
  secret: process.env.JWT_KEY ?? ['super', 'secret'].join(''),
}) // 4: guessed key

// 5: certificates are not verified
const agent = new https.Agent({ rejectUnauthorized: false })

app.decorate('db', require('./db'))
app.decorate('agent', agent)
app.decorate('auth', async function (req, res) {
  try {
    await req.jwtVerify()
  } catch (err) {
    res.code(401).send({ error: 'unauthorized' })
  }
})

// 6: the stack is sent to clients
app.setErrorHandler(function (err, req, res) {
  req.log.error(err)
  res.status(err.statusCode || 500).send({ error: err.message, details: err.stack })
})

app.register(require('./routes/accounts'))
app.register(require('./routes/shop'), { prefix: '/shop' })
app.register(require('./routes/tools'), { prefix: '/tools' })

app.listen({ port: 3000 }, (err) => {
  if (err) process.exit(1)
})
