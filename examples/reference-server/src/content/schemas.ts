/** The shape of a piece of content on the marketing platform. */
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../resource.ts'
import { changesOf, closedObject, line, prose, storedMembers } from '../schemas.ts'

const members = {
  authorId: Type.String({ format: 'uuid', description: 'A user; 409 when there is no such user' }),
  title: line(200, 'The headline'),
  body: prose(20_000, 'The text'),
}
const status = Type.Unsafe<'draft' | 'published' | 'archived'>(
  Type.String({ enum: ['draft', 'published', 'archived'], description: 'draft at first' }),
)

/** What a caller sends to make content. */
export const NewContent = closedObject({ ...members, status: Type.Optional(status) })
/** What a caller sends to change it. */
const ContentChanges = changesOf(NewContent)
/** Content as it is returned. */
export const Content = closedObject({ ...storedMembers, ...members, status }, { $id: 'Content' })

export type NewContent = Static<typeof NewContent>

/** The schemas of its routes. */
export const contentRoutes = describeResource({
  one: 'content',
  many: 'content',
  names: ['Content', 'Content'],
  stored: Content,
  created: NewContent,
  changes: ContentChanges,
})
