/** The content of the demo. The names are invented and not those of people. */
import type { NewArtist } from '../artists/schemas.ts'
import type { NewContent } from '../content/schemas.ts'
import type { NewVenue } from '../venues/schemas.ts'

/** Articles of the demo editor. */
export const articles: readonly Omit<NewContent, 'authorId'>[] = [
  {
    title: 'How to book an artist',
    body: '<h2>Three steps</h2><ol><li>Search</li><li>Evaluate the offer</li><li>Book</li></ol>',
    status: 'published',
  },
  {
    title: 'The season at a glance',
    body: '<p>A draft: only its author and administrators see it.</p>',
    status: 'draft',
  },
]

/** Artists; the telephone numbers are encrypted. */
export const artists: readonly NewArtist[] = [
  {
    name: 'Paper Lanterns',
    genres: ['indie', 'folk'],
    hourlyRateMinor: 45_000,
    currency: 'EUR',
    phone: '+4930000000001',
    platforms: ['bandcamp', 'spotify'],
  },
  {
    name: 'Ñandú Eléctrico',
    genres: ['rock', 'música norteña'],
    hourlyRateMinor: 120_000,
    currency: 'MXN',
    platforms: ['youtube'],
  },
  {
    name: '月の影',
    genres: ['jazz'],
    hourlyRateMinor: 60_000,
    currency: 'JPY',
    platforms: ['apple-music', 'deezer'],
  },
]

/** Where they play. */
export const venues: readonly NewVenue[] = [
  { name: 'The Old Tramshed', city: 'Berlin', country: 'DE', capacity: 800 },
  { name: 'Foro del Lago', city: 'Ciudad de México', country: 'MX', capacity: 2500 },
]
