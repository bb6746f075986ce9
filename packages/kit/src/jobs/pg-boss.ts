/** The part of pg-boss that kit uses, so that it need not depend on it. */

/** The part of pg-boss 10 that is used; a `PgBoss` fits. Kit does not depend on it. */
export interface PgBossLike {
  send(name: string, data: object, options: object): Promise<string | null>
  complete(name: string, id: string): Promise<unknown>
  fail(name: string, id: string, data: object): Promise<unknown>
  cancel(name: string, id: string): Promise<unknown>
  deleteJob(name: string, id: string): Promise<unknown>
  retry(name: string, id: string): Promise<unknown>
  getJobById(name: string, id: string, options: { includeArchive: boolean }): Promise<object | null>
  createQueue(name: string, options: never): Promise<unknown>
  getQueue(name: string): Promise<object | null>
  expire(): Promise<unknown>
  getDb(): PgBossDb
}

/** The option `db` of pg-boss. */
export interface PgBossDb {
  // oxlint-disable-next-line typescript/no-explicit-any -- the type that pg-boss declares
  executeSql(text: string, values?: any[]): Promise<{ rows: any[] }>
}
