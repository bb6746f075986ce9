/** Stores artists. Each telephone number is encrypted and bound to its row. */
import type { FieldEncryption } from '@parapet/field-encryption'
import type { SqlQueryable } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { PARAPET_REFERENCE_HAS_BOOKINGS } from '../errors.ts'
import { encryptMember } from '../storage/encrypted-member.ts'
import { createTable, type Table, type TableShape } from '../storage/table.ts'
import { EncryptedArtist, type NewArtist } from './schemas.ts'

/** The dependencies of the repository. */
export interface ArtistPorts {
  readonly sql: SqlQueryable
  readonly fieldEncryption: FieldEncryption
  /**
   * Whether the keyset is saved. If not, telephone numbers of an earlier process cannot be decrypted
   * and are left out.
   */
  readonly isKeysetSaved: boolean
  /** Receives a warning for each telephone number that cannot be decrypted. */
  readonly log: Pick<FastifyBaseLogger, 'warn'>
}

const shape: TableShape<NewArtist> = {
  name: 'artists',
  columns: {
    name: 'name',
    genres: 'genres',
    hourlyRateMinor: 'hourly_rate_minor',
    currency: 'currency',
    bio: 'bio',
    available: 'available',
    phone: 'phone',
    platforms: 'platforms',
  },
  conflicts: { '23503': PARAPET_REFERENCE_HAS_BOOKINGS },
}

/** Creates the repository of artists. */
export function createArtists({
  sql,
  fieldEncryption,
  isKeysetSaved,
  log,
}: ArtistPorts): Table<NewArtist> {
  return encryptMember(createTable<NewArtist>(sql, shape), 'phone', {
    encrypted: fieldEncryption.table('artists', EncryptedArtist),
    onUnreadable(artistId) {
      // The start has warned once that all numbers of earlier processes are lost.
      if (isKeysetSaved)
        log.warn({ artistId }, 'left out a telephone number that cannot be decrypted')
    },
  })
}
