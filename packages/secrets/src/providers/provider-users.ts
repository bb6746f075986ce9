/** A provider may be shared by several instances of the plugin: the last one closes it. */
import type { SecretsProvider } from './provider.ts'

const users = new WeakMap<SecretsProvider, number>()

/** Counts a user. */
export function useProvider(provider: SecretsProvider): void {
  users.set(provider, (users.get(provider) ?? 0) + 1)
}

/** Ends a use. @returns whether it was the last one */
export function releaseProvider(provider: SecretsProvider): boolean {
  const others = (users.get(provider) ?? 1) - 1
  users.set(provider, others)
  return others === 0
}
