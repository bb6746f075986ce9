/** `@parapet/testing`: what the tests and benchmarks of the workspace share. Private; never in `src`. */
export * from './bench.ts'
export * from './docs.ts'
export * from './plugin-docs.ts'
export { plainCommand, plainNode, type Command } from './node-command.ts'
export * from './services.ts'
export * from './snippets.ts'
export * from './soak.ts'
export * from './vectors.ts'
