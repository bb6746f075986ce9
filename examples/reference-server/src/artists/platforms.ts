/** Where the music of an artist can be heard. */
import { Type } from '@sinclair/typebox'

/** The platforms that this service knows. */
export const PLATFORMS = [
  'apple-music',
  'bandcamp',
  'deezer',
  'soundcloud',
  'spotify',
  'tidal',
  'youtube',
] as const

/** One of {@link PLATFORMS}. */
export const Platform = Type.Unsafe<(typeof PLATFORMS)[number]>(
  Type.String({ enum: [...PLATFORMS] }),
)
