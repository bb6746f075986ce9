/** Users and content to look at, on the first start of an embedded database. */
import type { SqlTransaction } from '@parapet/kit'
import { uuidV7 } from '@parapet/kit'
import { hashPassword } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import { localEmail, savePassword } from '../access/local-passwords.ts'
import { createArtists } from '../artists/repository.ts'
import { createBookings } from '../bookings/repository.ts'
import { createContent } from '../content/repository.ts'
import { createVenues } from '../venues/repository.ts'
import { articles, artists, venues } from './samples.ts'

/** The users of the demo beside the first administrator. */
export const demoRoles = ['editor', 'viewer'] as const
type DemoRole = (typeof demoRoles)[number]

/**
 * Creates the demo, in the transaction that creates the first administrator: a start that ends between the two
 * would leave a server without it.
 *
 * The passwords are written before the rows, so that a crash leaves no user with an unknown password.
 */
export async function createDemo(
  app: FastifyInstance,
  sql: SqlTransaction,
  dataDir: string,
): Promise<void> {
  const hashes: Partial<Record<DemoRole, string>> = {}
  for (const role of demoRoles) {
    hashes[role] = await hashPassword(await savePassword(dataDir, role))
  }
  const editor = await insertUser(sql, 'editor', hashes.editor!)
  const viewer = await insertUser(sql, 'viewer', hashes.viewer!)
  await insertSamples(app, sql, { editor, viewer })
}

async function insertUser(sql: SqlTransaction, role: DemoRole, hash: string): Promise<string> {
  const id = uuidV7()
  const name = role === 'editor' ? 'Demo editor' : 'Demo viewer'
  await sql.query(
    // No message can reach these addresses, so nobody could verify them.
    `INSERT INTO users (id, email, display_name, password_hash, roles, email_verified_at)
     VALUES ($1, $2, $3, $4, $5, now())`,
    [id, localEmail(role), name, hash, [role]],
  )
  return id
}

async function insertSamples(
  { fieldEncryption, log }: FastifyInstance,
  sql: SqlTransaction,
  ids: Readonly<Record<DemoRole, string>>,
): Promise<void> {
  const artistTable = createArtists({ sql, fieldEncryption, isKeysetSaved: true, log })
  const venueTable = createVenues(sql)
  const contentTable = createContent(sql)
  for (const article of articles) await contentTable.insert({ ...article, authorId: ids.editor })
  const rows = []
  for (const artist of artists) rows.push(await artistTable.insert(artist))
  const places = []
  for (const venue of venues) places.push(await venueTable.insert(venue))
  await createBookings({ sql, fieldEncryption, log }).insert({
    userId: ids.viewer,
    artistId: rows[0]!.id,
    venueId: places[0]!.id,
    date: inDays(60),
    hours: 2,
    priceMinor: rows[0]!.hourlyRateMinor * 2,
    currency: rows[0]!.currency,
    status: 'requested',
    note: 'An open-air evening; the stage has a roof.',
  })
}

function inDays(days: number): string {
  return new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)
}
