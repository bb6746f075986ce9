export function attackProbability(_text: string): number {
  return 0
}
