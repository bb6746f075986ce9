'use strict'
const users = [
  {
    id: '1',
    email: 'ann@example.com',
    name: 'Ann',
    passwordHash: '$2b$12$KIXQ1x0Zb1Zr3Yv7mF0uAeT5hVZ3sG2kN8rWq4yLJ6pXcD9oEfB3a',
  },
]
const orders = [{ id: '1', customer: '1', total: 100 }]

// A stand-in for a database driver.
module.exports = {
  users,
  orders,
  async query(text, values) {
    return { rows: /orders/.test(text) ? orders : [] }
  },
}
