/** The contents of files: encrypted on the disk, each under a key of its own. */
import { createLocalFileStore, type FieldEncryption, type Files } from '@parapet/field-encryption'
import { PARAPET_REFERENCE_FILE_REFUSED } from '../errors.ts'

/** A client has 20 seconds for a request: this is the most that 10 Mbit/s carry. */
export const MAX_FILE_BYTES = 26_214_400

/** Creates the storage of contents in a folder. Several instances need one folder that they share. */
export function createContents(fieldEncryption: FieldEncryption, folder: string): Files {
  return fieldEncryption.files(createLocalFileStore(folder))
}

/** Where the content of a file is stored. */
export function contentName({ folder, id }: { readonly folder: string; readonly id: string }) {
  return `${folder}/${id}`
}

/** Passes the bytes on and counts them. @throws PARAPET_REFERENCE_FILE_REFUSED there are too many. */
export function createMeter(source: AsyncIterable<Uint8Array>) {
  const meter = { bytes: 0, stream: measured() }
  async function* measured(): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      meter.bytes += piece.length
      if (meter.bytes > MAX_FILE_BYTES) {
        throw new PARAPET_REFERENCE_FILE_REFUSED('it is longer than 25 MiB')
      }
      yield piece
    }
  }
  return meter
}
