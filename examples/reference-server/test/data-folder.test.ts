/** The data folder has one owner, and every failed start gives it up. */
import { readdir, writeFile } from 'node:fs/promises'
import { lockFolder } from '@parapet/kit'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { createDataFolder, createMemoryLog } from './support/test-app.ts'

const { log } = createMemoryLog()

await t.test('a folder that another server owns is refused before it is touched', async (t) => {
  const DATA_DIR = createDataFolder(t)
  const release = await lockFolder(DATA_DIR)
  const start = () => buildApp(readConfig({ DATA_DIR }), { log })
  for (let attempt = 0; attempt < 3; attempt++) {
    await t.rejects(start(), {
      code: 'PARAPET_REFERENCE_DATA_IN_USE',
      message: `The folder ${DATA_DIR} is in use by this process. Stop that server, or set another`,
    })
  }
  const names = await readdir(DATA_DIR)
  t.same(
    names.filter((name) => !name.startsWith('lock.')),
    [],
    'nothing was created',
  )
  await t.rejects(lockFolder(DATA_DIR), { code: 'PARAPET_KIT_FOLDER_IN_USE' }, 'still owned')
  await release()
})

await t.test('a database that cannot be opened releases the folder', async (t) => {
  const DATA_DIR = createDataFolder(t)
  await writeFile(`${DATA_DIR}/pglite`, 'not a folder')
  await t.rejects(buildApp(readConfig({ DATA_DIR }), { log }))
  await (
    await lockFolder(DATA_DIR)
  )()
})
