const Fastify = require('fastify')
const securityHeaders = require('@parapet/security-headers')

async function main() {
  const app = Fastify()
  await app.register(securityHeaders)
  app.get('/', async () => ({ hello: 'world' }))

  const response = await app.inject('/')
  console.log(response.headers['content-security-policy'])
}

main()
