/** How well scores rank labelled rows. */

/** The share of pairs that are in the right order; ties count half. */
export function rocAuc(scores: Float64Array, labels: readonly boolean[]): number {
  const order = [...scores.keys()].toSorted((a, b) => scores[a]! - scores[b]!)
  const positives = labels.filter(Boolean).length
  let sum = 0
  for (let i = 0; i < order.length;) {
    let end = i
    while (end < order.length && scores[order[end]!] === scores[order[i]!]) end++
    const rank = (i + 1 + end) / 2
    for (; i < end; i++) if (labels[order[i]!]!) sum += rank
  }
  return (sum - (positives * (positives + 1)) / 2) / (positives * (labels.length - positives))
}

/** The mean of the precision at each anomaly; tied rows share one threshold. */
export function averagePrecision(scores: Float64Array, labels: readonly boolean[]): number {
  const order = [...scores.keys()].toSorted((a, b) => scores[b]! - scores[a]!)
  const positives = labels.filter(Boolean).length
  let found = 0
  let sum = 0
  for (let i = 0; i < order.length;) {
    let end = i
    let here = 0
    while (end < order.length && scores[order[end]!] === scores[order[i]!]) {
      if (labels[order[end++]!]!) here++
    }
    found += here
    sum += (here / positives) * (found / end)
    i = end
  }
  return sum
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Of a sample. */
export function standardDeviation(values: readonly number[]): number {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
}
