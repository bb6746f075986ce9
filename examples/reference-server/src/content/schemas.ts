/** The schemas of content on the marketing platform. */
import { SafeFilename, SafeHtml, SearchQuery, Uuid } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../http/resource-schemas.ts'
import {
  changesOf,
  closedObject,
  emptyBody,
  IdParams,
  PageQuery,
  fileOf,
  problems,
  singleLineText,
  storedMembers,
} from '../http/schemas.ts'

const members = {
  authorId: Uuid({ description: 'The id of a user; 409 if there is no such user' }),
  title: singleLineText(200, 'The headline'),
  body: SafeHtml({
    maxLength: 20_000,
    allow: 'rich',
    // Articles of people who log in, with tables and links: more than the comments for which the defaults are.
    maxTags: 1000,
    maxAttributes: 2000,
    maxReferences: 2000,
    description: 'HTML; everything unsafe is removed before it is stored',
  }),
}
const status = Type.Unsafe<'draft' | 'published' | 'archived'>(
  Type.String({ enum: ['draft', 'published', 'archived'], description: 'draft by default' }),
)

/** The body that creates content. */
export const NewContent = closedObject({ ...members, status: Type.Optional(status) })
/** The body that changes content. */
const ContentChanges = changesOf(NewContent)
/** Content as the routes return it. */
export const Content = closedObject(
  {
    ...storedMembers,
    ...members,
    status,
    sanitized: Type.Optional(
      Type.Literal(true, { description: 'Something unsafe was removed from this request' }),
    ),
  },
  { $id: 'Content' },
)

export type NewContent = Static<typeof NewContent>

const resource = describeResource({
  one: 'content',
  many: 'content',
  names: ['Content', 'Content'],
  stored: Content,
  created: NewContent,
  changes: ContentChanges,
})

/** The schemas of the routes of content. */
export const contentRoutes = {
  ...resource,
  list: {
    ...resource.list,
    querystring: closedObject({
      ...PageQuery.properties,
      q: Type.Optional(SearchQuery({ description: 'Words of the title or the text' })),
    }),
  },
  download: {
    operationId: 'downloadContent',
    summary: 'Read content as a file',
    tags: ['content'],
    params: IdParams,
    querystring: closedObject({ name: SafeFilename({ extensions: ['html'], maxBytes: 100 }) }),
    response: { 200: fileOf('text/html', 'HTML, as an attachment'), ...problems },
  },
}

const reviewer = {
  tags: ['content'],
  params: closedObject({ ...IdParams.properties, userId: Uuid() }),
  body: Type.Null(),
}

/** The schema of `PUT /content/:id/reviewers/:userId`. */
export const addReviewer = {
  operationId: 'addReviewer',
  summary: 'Share content with a user, who can then read it before it is published',
  ...reviewer,
  response: { 204: emptyBody('Shared'), ...problems },
}

/** The schema of `DELETE /content/:id/reviewers/:userId`. */
export const removeReviewer = {
  operationId: 'removeReviewer',
  summary: 'End the sharing of content with a user; takes effect immediately',
  ...reviewer,
  response: { 204: emptyBody('No longer shared'), ...problems },
}
