'use strict'
const { exec } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

module.exports = async function (app) {
  app.addHook('onRequest', app.auth)

  // 23: a shell runs text of the request
  app.post(
    '/ping',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { host: { type: 'string', maxLength: 100 } },
        },
      },
    },
    (req, res) => {
      exec(`ping -c 1 ${req.body.host}`, (err, out) => res.send({ out }))
    },
  )

  // 24: any file can be read
  app.get('/file', async (req, res) => {
    const file = path.join(__dirname, 'files', req.query.name)
    return fs.createReadStream(file)
  })

  // 25: any address is fetched
  app.post(
    '/preview',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { url: { type: 'string', maxLength: 500 } },
        },
      },
    },
    async (req) => {
      const { url } = req.body
      const answer = await fetch(url)
      return { text: await answer.text() }
    },
  )
}
