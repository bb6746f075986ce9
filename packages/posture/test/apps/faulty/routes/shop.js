'use strict'

module.exports = async function (app) {
  // 18: SQL from a query
  app.get('/search', async (req) => {
    const { q = '' } = req.query
    const sql = "SELECT id, name FROM products WHERE name LIKE '%" + q + "%'"
    return (await app.db.query(sql)).rows
  })

  // 19: any customer reads any order
  app.get('/orders/:id', { onRequest: [app.auth] }, async (req, res) => {
    const order = app.db.orders.find((o) => o.id === req.params.id)
    return order || res.code(404).send({ error: 'not found' })
  })

  // 20: no schema
  app.post('/orders', { onRequest: [app.auth] }, (req, res) => {
    app.db.orders.push({
      id: String(app.db.orders.length + 1),
      customer: req.user.id,
      total: req.body.total,
    })
    res.code(201).send({ ok: true })
  })

  // 21: markup is repeated
  app.get('/hello', (req, res) => {
    res.type('text/html').send(`<h1>Hello ${req.query.name}</h1>`)
  })

  // 22: leads to any site
  app.get('/go', (req, res) => {
    const target = req.query.next || '/'
    res.redirect(target)
  })
}
