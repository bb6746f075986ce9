import securityHeaders from '@parapet/security-headers'
import Fastify from 'fastify'

const app = Fastify()
await app.register(securityHeaders)
app.get('/', async () => ({ hello: 'world' }))

const response = await app.inject('/')
console.log(response.headers['content-security-policy'])
