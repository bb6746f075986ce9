/** The schemas of files: a file is stored encrypted and belongs to the account that uploaded it. */
import { Encrypted } from '@parapet/field-encryption'
import { SafeFilename } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { roles } from '../access/policy.ts'
import {
  closedObject,
  emptyBody,
  fileOf,
  IdParams,
  pageOf,
  PageQuery,
  problems,
  refTo,
  storedMembers,
} from '../http/schemas.ts'

/** The media type of every file. */
export const FILE_TYPE = 'application/octet-stream'

const name = SafeFilename({ maxBytes: 200, description: 'The name to show; stored encrypted' })
// The database shows a file to its owner and to administrators only.
const encryptedName = Encrypted(name, { reveal: [...roles] })

/** A file as the routes return it. */
export const StoredFile = closedObject(
  {
    ...storedMembers,
    name: Type.Optional(encryptedName),
    bytes: Type.Integer({ minimum: 0, description: 'Length of the content' }),
  },
  { $id: 'StoredFile' },
)

/** The encrypted member of a file, and the id that binds it to its row. */
export const EncryptedFile = Type.Object({ id: storedMembers.id, name: encryptedName })

/** The values of a file in the database. */
export interface FileValues {
  readonly ownerId: string | null
  /** The folder of the content; it outlives the owner. */
  readonly folder: string
  readonly name: Static<typeof name>
  readonly bytes: number
  /** `pending` until the whole content is stored. */
  readonly state: 'pending' | 'stored'
}

const tags = ['files']
const response = { 200: refTo(StoredFile), ...problems }

/** The schemas of the routes of files. */
export const fileRoutes = {
  upload: {
    operationId: 'uploadFile',
    summary: 'Upload a file, at most 25 MiB, as application/octet-stream; it is stored encrypted',
    tags,
    querystring: closedObject({ name }),
    // The handler reads and measures the stream.
    body: { content: { [FILE_TYPE]: { schema: {} } } },
    response: { 201: refTo(StoredFile), ...problems },
  },
  list: {
    operationId: 'listFiles',
    summary: 'List the own files, the oldest first',
    tags,
    querystring: PageQuery,
    response: { 200: pageOf(StoredFile), ...problems },
  },
  get: {
    operationId: 'getFile',
    summary: 'Read the name and the length of a file',
    tags,
    params: IdParams,
    response,
  },
  download: {
    operationId: 'downloadFile',
    summary: 'Download a file, or with `Range` a part of it',
    tags,
    params: IdParams,
    response: {
      200: fileOf(FILE_TYPE, 'The content, as an attachment'),
      206: fileOf(FILE_TYPE, 'The part that `Range` names'),
      304: { type: 'null', description: '`If-None-Match` names the content' },
      ...problems,
    },
  },
  remove: {
    operationId: 'deleteFile',
    summary: 'Delete a file',
    tags,
    params: IdParams,
    response: { 204: emptyBody('Deleted'), ...problems },
  },
}
