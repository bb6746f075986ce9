/** The schemas of content on the marketing platform. */
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../http/resource-schemas.ts'
import {
  changesOf,
  closedObject,
  multiLineText,
  singleLineText,
  storedMembers,
} from '../http/schemas.ts'

const members = {
  authorId: Type.String({
    format: 'uuid',
    description: 'The id of a user; 409 if there is no such user',
  }),
  title: singleLineText(200, 'The headline'),
  body: multiLineText(20_000, 'The text'),
}
const status = Type.Unsafe<'draft' | 'published' | 'archived'>(
  Type.String({ enum: ['draft', 'published', 'archived'], description: 'draft by default' }),
)

/** The body that creates content. */
export const NewContent = closedObject({ ...members, status: Type.Optional(status) })
/** The body that changes content. */
const ContentChanges = changesOf(NewContent)
/** Content as the routes return it. */
export const Content = closedObject({ ...storedMembers, ...members, status }, { $id: 'Content' })

export type NewContent = Static<typeof NewContent>

/** The schemas of the routes of content. */
export const contentRoutes = describeResource({
  one: 'content',
  many: 'content',
  names: ['Content', 'Content'],
  stored: Content,
  created: NewContent,
  changes: ContentChanges,
})
