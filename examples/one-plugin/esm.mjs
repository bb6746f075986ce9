import securityHeaders from '@parapet/security-headers'
import Fastify from 'fastify'

const app = Fastify()
await app.register(securityHeaders)
app.get('/', async () => ({ hello: 'world' }))

const reply = await app.inject('/')
console.log(reply.headers['content-security-policy'])
