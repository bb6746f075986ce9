/** A small generator of random numbers that gives the same sequence on every platform. */

/** Draws random numbers. Not for secrets. */
export interface Random {
  /** 0 (included) to 1 (excluded), with 32 random bits. */
  next(): number
  /** An integer from 0 to `below - 1`. */
  below(below: number): number
}

/** Creates the generator sfc32; equal seeds give equal sequences. */
export function createRandom(seed: number): Random {
  let a = seed | 0
  let b = Math.trunc(seed / 0x1_0000_0000) | 0
  let c = 0x9e37_79b9 | 0
  let counter = 1
  const draw = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  // The first numbers of near seeds are alike.
  for (let i = 0; i < 16; i++) draw()
  return {
    next: () => draw() / 0x1_0000_0000,
    below: (below) => Math.floor((draw() / 0x1_0000_0000) * below),
  }
}
